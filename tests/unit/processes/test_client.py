from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.facts.errors import CacheError, CompileFailed, UnfitInput, WorkerError
from pytest_accel.facts.records import Placement, TensorSpec
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.process import InProcessWorker
from pytest_accel.testing import FAKE, FakeAccelerator, fake_model
from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import Missing, Present, Source, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_accel.facts.fact import Scalar
    from pytest_accel.worker.accelerator import Arrays, CompileJob

OPTIONS: dict[str, Scalar] = {"precision": "fp32", "batch_size": 1}
DEADLINES = Deadlines(compile_s=600.0, run_s=60.0)
MEASURED = {
    "latencies_ns": wire.pack(np.array([5, 6])),
    "waits_ns": wire.pack(np.array([], np.int64)),
    "wall_ns": 11,
    "checked": [{"batch": 1, "outputs": {"y": wire.pack(np.ones(2))}}],
    "host_memory_mb": 10.5,
    "device_memory_mb": None,
    "conditions": {"tracing": "", "throttled": "thermal"},
}


class Canned(InProcessWorker):
    """Answers everything with one reply and notes what it was asked."""

    def __init__(self, reply: Any = None) -> None:
        self.reply = reply if reply is not None else {}
        self.asked: list[dict[str, Any]] = []

    def request(self, op: str, **asked: Any) -> Any:
        self.asked.append({"op": op, **asked})
        return self.reply


@pytest.fixture
def client(tmp_path: Path) -> WorkerClient:
    """A fake model, compiled and loaded."""
    client = WorkerClient(InProcessWorker("fake", FAKE), DEADLINES)
    model = fake_model(tmp_path / "model.fake.json", latency_ms=2, flops=100.0)
    client.compile(Source("fake", str(model)), tmp_path / "artefact", OPTIONS)
    return client


@pytest.mark.parametrize(
    ("load_shape", "traffic", "waits_ns"),
    [
        ("multi_stream", {"concurrency": 2}, []),
        ("server", {"concurrency": 2, "rate": 1e-3, "seed": 1}, [0, 0, 0, 0]),
    ],
)
def test_calls_side_by_side_are_asked_for_with_their_traffic(
    client: WorkerClient, tmp_path: Path, load_shape: Any, traffic: dict[str, float], waits_ns: list[int]
) -> None:
    client.load(tmp_path / "artefact", OPTIONS)
    client.stage([{"x": np.ones((1, 4), np.float32)}])
    timed = client.measure(load_shape, calls=4, checks=1, **traffic)
    assert (timed.latencies_ns, timed.waits_ns) == ([2_000_000] * 4, waits_ns)


def test_one_launch_from_compiling_to_the_placement(client: WorkerClient, tmp_path: Path) -> None:
    loaded = client.load(tmp_path / "artefact", OPTIONS)
    assert loaded.load_s == 0.5
    assert loaded.signature.inputs == (TensorSpec(name="x", dtype="float32", shape=(None, 4)),)
    inputs = {"x": np.ones((1, 4), np.float32)}
    scores = client.predict(inputs)["y"]
    assert scores.shape == (1, 3)
    client.stage([inputs])
    warm = client.warm_up(min_calls=1, min_s=0.0, max_s=1.0, window=2)
    assert (warm.first_inference_ns, warm.calls, warm.steady) == (2_000_000, 6, True)
    timed = client.measure("single_stream", calls=3, checks=1)
    assert (timed.latencies_ns, timed.wall_ns) == ([2_000_000] * 3, 6_000_000)
    np.testing.assert_array_equal(timed.checked[0].outputs["y"], scores)
    assert client.time_block(calls=2).latencies_ns == [2_000_000] * 2
    operators = {"dense": "fake:float32", "softmax": "fake:float32"}
    assert client.placement() == (Placement(on_device=1.0, precisions={"float32": 2}, operators=operators), 100.0)
    client.close()


class Calibrated(FakeAccelerator):
    """Notes what it was calibrated with."""

    batches: Sequence[Arrays] = ()

    def compile_job(self, job: CompileJob) -> None:
        Calibrated.batches = job.calibration


def test_calibration_batches_reach_the_compiler_unchanged(tmp_path: Path) -> None:
    batches = [{"x": np.full((1, 4), value, np.float32)} for value in (1, 2)]
    client = WorkerClient(InProcessWorker("fake", f"{__name__}:Calibrated"), DEADLINES)
    client.compile(Source("fake", "m"), tmp_path, OPTIONS, calibration=batches)
    assert [batch["x"].tolist() for batch in Calibrated.batches] == [[[1.0] * 4], [[2.0] * 4]]
    assert all(batch["x"].dtype == np.float32 for batch in Calibrated.batches)


def test_compiling_has_a_deadline_of_its_own() -> None:
    worker = Canned({"seconds": 1.5})
    assert WorkerClient(worker, DEADLINES).compile(Source("fake", "m"), "folder", OPTIONS) == 1.5  # type: ignore[arg-type]
    assert worker.asked[0]["deadline_s"] == 600.0


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("probe", {"present": {"device": "d", "identity": {}}}),
        ("versions", {"sdk": "1"}),
        ("placement", {"on_device": None, "precisions": {}}),
        ("close", {}),
    ],
)
def test_all_else_has_the_runs_deadline(method: str, reply: Any) -> None:
    worker = Canned(reply)
    getattr(WorkerClient(worker, DEADLINES), method)()
    assert worker.asked[0]["deadline_s"] == 60.0


def test_a_device_is_present_or_missing_with_a_reason() -> None:
    present = Present("Fake", {"cores": 4, "fast": True, "driver": None}, 1e12)
    assert WorkerClient(Canned({"present": vars(present)}), DEADLINES).probe() == present
    missing = Missing("no-driver", "no driver", "install it")
    assert WorkerClient(Canned({"missing": vars(missing)}), DEADLINES).probe() == missing


@pytest.mark.parametrize(
    ("reply", "ask", "problem"),
    [
        ({}, lambda client: client.probe(), "probe is malformed"),
        ({"present": {"device": 1, "identity": {}}}, lambda client: client.probe(), r"Expected `str`, got `int`"),
        ({"fake": 1.0}, lambda client: client.versions(), r"versions is malformed"),
        ({"kind": "onnx"}, lambda client: client.convert(Source("fake", ""), "", {}), "convert is malformed"),
        ({"seconds": "1"}, lambda client: client.compile(Source("fake", ""), "", {}), "compile is malformed"),
        ({"inputs": [{"name": "x"}]}, lambda client: client.load(Path(), {}), "load is malformed: .*dtype"),
        ({"outputs": {"y": {"dtype": "<f4"}}}, lambda client: client.predict({}), "predict holds a malformed array"),
        ({"outputs": None}, lambda client: client.predict({}), "predict holds a malformed array"),
        ({"calls": 1}, lambda client: client.warm_up(min_calls=1, min_s=0, max_s=1, window=1), "warm-up is malformed"),
        ({**MEASURED, "wall_ns": "x"}, lambda client: client.measure("offline", calls=2, checks=1), "wall_ns"),
        ({**MEASURED, "more": 1}, lambda client: client.measure("offline", calls=2, checks=1), "unknown field `more`"),
        (MEASURED, lambda client: client.measure("offline", calls=3, checks=1), "timed 2 calls instead of 3"),
        (
            {**MEASURED, "waits_ns": wire.pack(np.array([1]))},
            lambda client: client.measure("server", calls=2, checks=1, concurrency=1, rate=1.0, seed=0),
            "tells 1 waits of 2 calls",
        ),
        (MEASURED, lambda client: client.time_block(calls=1), "timed 2 calls instead of 1"),
        ({"flops": 1.0, "precisions": {}}, lambda client: client.placement(), "placement is malformed: .*on_device"),
        ({**MEASURED, "checked": 1}, lambda client: client.measure("offline", calls=2, checks=1), "Expected `array`"),
        (
            {**MEASURED, "checked": [1]},
            lambda client: client.measure("offline", calls=2, checks=1),
            "Expected `object`",
        ),
        (
            {**MEASURED, "latencies_ns": wire.pack(np.array(1.5))},
            lambda client: client.measure("offline", calls=2, checks=1),
            "Expected `array`",
        ),
        ({"outputs": {"y": {"dtype": "(", "shape": [], "data": b""}}}, lambda client: client.predict({}), "malformed"),
        (
            {
                **MEASURED,
                "wall_ns": 0,
                "parts_ms": {},
                "conditions": {"tracing": "", "throttled": ""},
            },
            lambda client: client.measure("offline", calls=2, checks=1),
            "has to go on, and it stood still or went back for all of 2 calls",
        ),
        (
            {**MEASURED, "latencies_ns": wire.pack(np.array([1, -1]))},
            lambda client: client.measure("offline", calls=2, checks=1),
            "stood still or went back in 1 of 2 calls",
        ),
        (
            {"latencies_ns": wire.pack(np.array([0, 0])), "cores_taken": 0.0},
            lambda client: client.time_block(calls=2),
            "stood still or went back for all of 2 calls",
        ),
        ({"intermediates": 1}, lambda client: client.intermediates({}), "intermediates is malformed"),
        ({"operators": [1]}, lambda client: client.operator_times(3), "profiling is malformed"),
        ({"flops": "1"}, lambda client: client.placement(), r"placement is malformed: .*float \| null"),
    ],
)
def test_a_reply_of_another_shape_is_caught_at_the_border(reply: Any, ask: Any, problem: str) -> None:
    with pytest.raises(WorkerError, match=problem):
        ask(WorkerClient(Canned(reply), DEADLINES))


@pytest.mark.parametrize(
    "ask", [lambda client, x: client.predict({"x": x}), lambda client, x: client.stage([{"x": x}])]
)
def test_inputs_without_numbers_never_leave(client: WorkerClient, ask: Any) -> None:
    with pytest.raises(UnfitInput, match="'x' has dtype <U3"):
        ask(client, np.array(["cat"]))


def test_a_refused_artefact_is_a_compilers_matter(client: WorkerClient, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CompileFailed, match=r"empty/model\.fake\.json"):
        client.load(tmp_path / "empty", OPTIONS)


def test_an_artefact_that_somebody_has_removed_is_not(client: WorkerClient, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"no-such-folder is gone: .* --accel-cache-dir"):
        client.load(tmp_path / "no-such-folder", OPTIONS)


def test_what_is_compiled_for_is_told_or_why_nothing_is() -> None:
    target = {"target": {"device": "sm75", "versions": {"compiler": "7"}}}
    assert WorkerClient(Canned(target), DEADLINES).target(OPTIONS) == Target("sm75", {"compiler": "7"})
    missing = {"missing": {"kind": "needs-device", "reason": "r", "action": "a"}}
    assert WorkerClient(Canned(missing), DEADLINES).target(OPTIONS) == Missing("needs-device", "r", "a")
    with pytest.raises(WorkerError, match="the worker's reply to target is malformed"):
        WorkerClient(Canned({"target": {"device": 7}}), DEADLINES).target(OPTIONS)


def test_an_inspected_artefact_has_facts_of_the_right_shape() -> None:
    placement = {"on_device": None, "precisions": {"int8": 1}, "operators": {}}
    reply = {"placement": placement, "model": {"kind": "onnx", "path": "m.onnx"}}
    found = WorkerClient(Canned(reply), DEADLINES).inspect(Path("folder"), OPTIONS)
    assert found.placement == Placement(on_device=None, precisions={"int8": 1})
    assert found.model == Source("onnx", "m.onnx")
    with pytest.raises(WorkerError, match="the worker's reply to inspect is malformed"):
        WorkerClient(Canned({"placement": {}, "model": None}), DEADLINES).inspect(Path("folder"), OPTIONS)
