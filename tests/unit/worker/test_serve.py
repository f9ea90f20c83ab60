from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.testing import FakeAccelerator, fake_model
from pytest_accel.worker import redaction, serve, wire
from pytest_accel.worker.accelerator import Inspected, Missing, Observed, Source, Target
from pytest_accel.worker.timing import process_state
from pytest_accel.worker.timing.threads import Threads, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTIONS = {"precision": "fp32", "batch_size": 1}


class Wire(list[Any]):
    """A channel with the requests already in it; what is sent gathers in ``sent``."""

    def __init__(self, *requests: Any) -> None:
        super().__init__({"op": op, "params": params} for op, params in requests)
        self.sent: list[Any] = []

    def send(self, message: Any) -> None:
        self.sent.append(message)


def replies(*requests: Any, accelerator: FakeAccelerator | None = None) -> list[Any]:
    wire = Wire(*requests)
    serve.serve(wire, accelerator or FakeAccelerator())
    return wire.sent


def compiling(folder: Path, **script: Any) -> tuple[str, dict[str, Any]]:
    model = fake_model(folder / "model.fake.json", **script)
    return "compile", {
        "source": {"kind": "fake", "path": str(model)},
        "artefact": str(folder / "artefact"),
        "options": OPTIONS,
    }


def loading(folder: Path) -> tuple[str, dict[str, Any]]:
    return "load", {"artefact": str(folder / "artefact"), "options": OPTIONS}


def batch(**changes: Any) -> dict[str, Any]:
    return wire.pack_all({"x": np.ones((1, 4), np.float32), **changes})


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", set())


def test_what_is_to_be_kept_secret_is_told_once_and_is_in_no_message() -> None:
    class ReadsCredentials(FakeAccelerator):
        def versions(self) -> dict[str, str]:
            redaction.keep_secret(["a secret of the account"])
            raise RuntimeError("signed with a secret of the account")

    secrets, *errors = replies(("versions", {}), ("versions", {}), accelerator=ReadsCredentials())
    assert secrets == {"secrets": ["a secret of the account"]}
    assert [error["error"]["message"] for error in errors] == ["signed with (redacted)"] * 2
    assert "a secret of the account" not in errors[0]["error"]["traceback"].replace('"signed with a secret', "")


def test_progress_comes_before_the_result(tmp_path: Path) -> None:
    assert replies(compiling(tmp_path, compile_s=3)) == [
        {"progress": [0.0, "compiling"]},
        {"progress": [1.0, "compiled"]},
        {"result": {"seconds": 3.0}},
    ]


def test_loading_tells_the_signature_and_its_time(tmp_path: Path) -> None:
    reply = replies(compiling(tmp_path), loading(tmp_path))[-1]["result"]
    assert reply == {
        "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4], "batch_axis": 0}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [None, 3], "batch_axis": 0}],
        "load_s": 0.5,
    }


def test_a_failure_is_an_answer_with_its_traceback_and_the_next_request_is_served(tmp_path: Path) -> None:
    failed, versions = replies(compiling(tmp_path, failures={"compile": {"how": "error"}}), ("versions", {}))[-2:]
    assert failed["error"]["type"] == "RuntimeError"
    assert failed["error"]["message"] == "scripted failure in compile"
    assert "fake.py" in failed["error"]["traceback"]
    assert failed["error"]["refused"] is False
    assert versions["result"]["fake-sdk"] == "1.0"


def test_the_compilers_no_is_told_from_a_failure(tmp_path: Path) -> None:
    script = {"failures": {"compile": {"how": "refused", "message": "unsupported operator Foo"}}}
    error = replies(compiling(tmp_path, **script))[-1]["error"]
    assert (error["refused"], error["message"]) == (True, "unsupported operator Foo")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"z": np.ones(1)}, "the model takes the inputs ['x'], got ['x', 'z']"),
        ({"x": np.ones((1, 4))}, "input 'x' takes float32[None, 4], got float64[1, 4]"),
        ({"x": np.ones((1, 5), np.float32)}, "input 'x' takes float32[None, 4], got float32[1, 5]"),
        ({"x": np.ones(4, np.float32)}, "input 'x' takes float32[None, 4], got float32[4]"),
    ],
)
@pytest.mark.parametrize("op", ["predict", "stage"])
def test_unfit_inputs_are_refused(tmp_path: Path, op: str, inputs: dict[str, Any], message: str) -> None:
    params = {"inputs": batch(**inputs)} if op == "predict" else {"batches": [batch(**inputs)]}
    error = replies(compiling(tmp_path), loading(tmp_path), (op, params))[-1]["error"]
    assert (error["refused"], error["message"]) == (True, message)


@pytest.mark.parametrize(
    ("op", "params", "message"),
    [
        ("predict", {"inputs": batch()}, "nothing is loaded"),
        ("measure", {"load_shape": "single_stream", "calls": 1, "checks": 0}, "nothing is staged"),
        ("warm_up", {"min_calls": 1, "min_s": 0, "max_s": 1, "window": 1}, "nothing is staged"),
        ("time_block", {"calls": 1, "settle": 0}, "nothing is staged"),
    ],
)
@pytest.mark.parametrize("after", ["start", "close"])
def test_an_operation_out_of_turn_says_what_to_do_first(
    tmp_path: Path, op: str, params: dict[str, Any], message: str, after: str
) -> None:
    before = [] if after == "start" else [compiling(tmp_path), loading(tmp_path), ("stage", {"batches": [batch()]})]
    error = replies(*before, ("close", {}), (op, params))[-1]["error"]
    assert message in error["message"]
    assert error["refused"] is False


def test_a_measurement_is_plain_data(tmp_path: Path) -> None:
    reply = replies(
        compiling(
            tmp_path, latency_ms=[1, 2], device_memory_mb=7.5, throttled="thermal", device_state={"sm_clock_mhz": 645}
        ),
        loading(tmp_path),
        ("stage", {"batches": [batch()]}),
        ("measure", {"load_shape": "single_stream", "calls": 2, "checks": 1}),
    )[-1]["result"]
    assert wire.unpack(reply["latencies_ns"]).tolist() == [1_000_000, 2_000_000]
    assert reply["wall_ns"] == 3_000_000
    assert reply["checked"][0]["batch"] == 0
    assert wire.unpack_all(reply["checked"][0]["outputs"])["y"].shape == (1, 3)
    assert reply["device_memory_mb"] == 7.5
    assert reply["host_memory_mb"] > 1
    assert reply["conditions"] == {
        "tracing": ", ".join(process_state.watchers()),
        "throttled": "thermal",
        "device_state": {"sm_clock_mhz": 645},
    }


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("measure", {"load_shape": "single_stream", "calls": 20, "checks": 0}),
        ("time_block", {"calls": 20, "settle": 1}),
    ],
)
@pytest.mark.parametrize(("share", "told"), [(0.5, "the device was held back by heat for 0.0"), (0.01, "")])
def test_what_was_slow_between_two_questions_is_told(
    tmp_path: Path, op: str, params: dict[str, Any], share: float, told: str
) -> None:
    requests = (compiling(tmp_path, held_back_share=share), loading(tmp_path), ("stage", {"batches": [batch()]}))
    result = replies(*requests, (op, params))[-1]["result"]
    throttled = result.get("conditions", result)["throttled"]
    assert (throttled.startswith(told), bool(throttled)) == (True, bool(told))


def test_evidence_that_speaks_against_the_hardware_saves_the_import_of_the_sdk() -> None:
    class NoDevice(FakeAccelerator):
        @classmethod
        def probe_hardware(cls) -> Missing:
            return Missing("no-hardware", "no /dev/fake0", "plug one in")

        def probe(self) -> Any:
            raise AssertionError("must not import the SDK")

    reply = replies(("probe", {}), accelerator=NoDevice())[-1]["result"]
    assert reply == {"missing": {"kind": "no-hardware", "reason": "no /dev/fake0", "action": "plug one in"}}


class Timed(FakeAccelerator):
    """One whose calls take real time on this machine's cores."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = time.perf_counter_ns


class Remote(Timed):
    remote = True


@pytest.mark.parametrize(
    ("accelerator", "expected"), [(Timed(), (3, 0.25)), (Remote(), (None, 0.0)), (FakeAccelerator(), (None, 0.0))]
)
def test_threads_are_held_apart_where_calls_wait_for_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    accelerator: FakeAccelerator,
    expected: tuple[int | None, float],
) -> None:
    asked: list[int] = []

    @contextmanager
    def apart(threads: Threads, first_core: int) -> Iterator[Turn]:
        asked.append(first_core)
        yield Turn(cores_taken=0.25)

    monkeypatch.setattr(Threads, "apart", apart)
    turn = ("time_block", {"calls": 2, "settle": 1, "first_core": 3})
    requests = (compiling(tmp_path), loading(tmp_path), ("stage", {"batches": [batch()]}), turn)
    result = replies(*requests, accelerator=accelerator)[-1]["result"]
    assert wire.unpack(result["latencies_ns"]).shape == (2,)
    assert (asked[0] if asked else None, result["cores_taken"]) == expected


class Inspectable(FakeAccelerator):
    """Its compiler needs no device, and its artefacts tell all that there is to tell."""

    def target(self, options: Any) -> Target | Missing:
        return Target("fake 1000", {"compiler": "7"}) if options["precision"] == "fp32" else super().target(options)

    def inspect(self, artefact: str, options: Any) -> Inspected:
        return Inspected(Observed.of({"a": "fake:int8"}, 1.0), Source("fake", artefact))


def test_what_is_compiled_for_is_told_or_why_nothing_is() -> None:
    first, second = replies(
        ("target", {"options": OPTIONS}), ("target", {"options": {"precision": "int8"}}), accelerator=Inspectable()
    )
    assert first["result"] == {"target": {"device": "fake 1000", "versions": {"compiler": "7"}}}
    assert second["result"]["missing"]["kind"] == "needs-device"


def test_an_artefact_is_inspected_as_far_as_it_tells() -> None:
    (reply,) = replies(("inspect", {"artefact": "folder", "options": OPTIONS}), accelerator=Inspectable())
    placement = {"on_device": 1.0, "precisions": {"int8": 1}, "operators": {"a": "fake:int8"}}
    assert reply["result"] == {"placement": placement, "model": {"kind": "fake", "path": "folder"}}
