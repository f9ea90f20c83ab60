"""20,000 inputs for every border where bytes or a user's values come in: no exception but ours, and no wrong accept.

What is accepted has to be what was written, whole and usable. The inputs are drawn from a fixed seed, so that every run
has the same ones. An input that was found to break something stays as an example beside its border.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_accel.facts.errors import AccelError
from pytest_accel.facts.records import Budgets, RunRecord, Signature, TensorSpec
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.inputs.registry import Registry
from pytest_accel.inputs.variants import BUDGETS, check_budgets, expand_marker
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.report.bencher import bencher
from pytest_accel.report.github_benchmark import github_benchmark
from pytest_accel.report.html import page
from pytest_accel.report.markdown import markdown
from pytest_accel.report.openmetrics import openmetrics
from pytest_accel.report.overview import Overview
from pytest_accel.report.record import read_record, to_json
from pytest_accel.store.baselines import dump, read
from pytest_accel.store.cache import Cache, Manifest
from pytest_accel.store.changes import changes_since, diff
from pytest_accel.store.journal import Finished, JournalLine
from pytest_accel.testing import FAKE
from pytest_accel.verdict import attribution
from pytest_accel.verdict.gate import Gate
from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import Source
from tests.drills.mutation import JSON, OBJECTS, SCALARS, bitten, changed, is_kept, written
from tests.formats import read_openmetrics, strictly
from tests.unit import facts

pytestmark = pytest.mark.drill

#: INPUTS is the number of inputs of all borders together.
INPUTS = 20_000
#: BORDERS is the number of borders that share them.
BORDERS = 9
_Test = TypeVar("_Test", bound=Callable[..., None])


def fuzz(test: _Test) -> _Test:
    """Run a test with its share of the inputs, the same ones every time."""
    calm = settings(
        max_examples=math.ceil(INPUTS / BORDERS),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    fuzzed: _Test = calm(test)
    return fuzzed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def accepted(action: Callable[[], Any], *, naming: object = "") -> Any:
    """Return what an action gives, None where it was refused in words that can be shown and name the place."""
    try:
        return action()
    except AccelError as error:
        told = str(error)
    assert str(naming) in told
    assert told.encode()
    return None


# Baselines

BASELINE = json.loads(dump(facts.baseline(duets=(facts.duet(),))))


@fuzz
@given(text=written(BASELINE))
@example(text=b"[" * 100_000)
@example(text=json.dumps(BASELINE).replace("1.6118", "1e999").encode())
@example(text=json.dumps(BASELINE).replace("resnet50", "\\ud800").encode())
@example(text=json.dumps(BASELINE).replace("1.6118", "9" * 5_000).encode())
@example(text=json.dumps({**BASELINE, "hardware": {"fingerprint": "x", "identity": {}}}).encode())
def test_baselines(folder: Path, text: bytes) -> None:
    path = folder / "baseline.json"
    path.write_bytes(text)
    found = accepted(lambda: read(path), naming=path)
    if found is None:
        return
    assert is_kept(json.loads(text), msgspec.to_builtins(found)) or json.loads(text)["schema"] == 1
    assert math.isfinite(found.median("p99_ms"))
    path.write_text(dump(found), encoding="utf-8")
    again = read(path)
    assert diff(found, again) == ()
    assert changes_since(found, facts.record()) is not None
    for duet in found.duets:
        Gate().decide(Gate().ratio(duet, duet))
        if duet.launches:
            attribution(duet, duet, version_changes=(), pacemaker_is_baseline=True)


# Records of runs

RECORD = json.loads(to_json(facts.run(facts.record(measurement=facts.measurement(), duet=facts.duet()))))


@fuzz
@given(text=written(RECORD))
@example(text=json.dumps({**RECORD, "started": "yesterday"}).encode())
@example(text=json.dumps(RECORD).replace("[1000000", f"[{10**400}").encode())
@example(text=json.dumps(RECORD).replace('"waits_ns": []', '"waits_ns": [1]').encode())
@example(text=json.dumps(RECORD).replace('"wall_s": 5.05', '"wall_s": 5e-324').encode())
@example(text=json.dumps(RECORD).replace('"wall_s": 5.05', '"wall_s": 1.7e308').encode())
def test_records(folder: Path, text: bytes) -> None:
    path = folder / "run.json"
    path.write_bytes(text)
    run = accepted(lambda: read_record(path), naming=path)
    if run is None:
        return
    assert is_kept(json.loads(text), msgspec.to_builtins(run))
    assert msgspec.json.decode(to_json(run), type=RunRecord) == run
    overview = Overview.of([run])
    assert markdown(overview).startswith("## ")
    read_openmetrics(openmetrics(overview))
    strictly(bencher(overview))
    strictly(github_benchmark(overview))
    assert len(text) % 4 or page(overview).startswith("<!")  # which takes longer than all else


# Journals

CHECKED = facts.record(key="k", measurement=facts.measurement())
LINE = msgspec.to_builtins(JournalLine(began="2026-11-23T17:00:00+00:00", record=CHECKED))
SOUND = msgspec.json.encode(JournalLine(began="2026-11-24", record=facts.record(key="sound")))


@fuzz
@given(line=written(LINE))
def test_journals(folder: Path, line: bytes) -> None:
    """A line that cannot be read costs no other line."""
    journals = folder / "journals"
    journals.mkdir(exist_ok=True)
    (journals / "1-a.jsonl").write_bytes(SOUND + b"\n" + line + b"\n" + SOUND + b"\n")
    finished = Finished(journals, warn=lambda _: None)
    for _ in range(2):
        taken = finished.take("sound", lambda: "s1")
        assert taken is not None
        assert (taken.model, taken.resumed) == ("resnet50", "2026-11-24")
    taken = finished.take("k", lambda: "s1")
    if taken is not None:
        assert markdown(Overview.of([facts.run(taken)])).startswith("## ")
        assert is_kept({**json.loads(line)["record"], "resumed": taken.resumed}, msgspec.to_builtins(taken))


# Manifests of the compile cache


@pytest.fixture(scope="module")
def cache(folder: Path) -> Iterator[Cache]:
    cache = Cache(folder / "cache", limit_mb=10, warn=lambda _: None)
    yield cache
    cache.close()


def _build(content: Path) -> None:
    (content / "network").mkdir()
    (content / "network" / "weights").write_bytes(b"weights")
    (content / "facts").write_bytes(b"facts")


@pytest.fixture(scope="module")
def manifest(cache: Cache) -> dict[str, Any]:
    made = cache.entry("made", _build, label="net")
    found: dict[str, Any] = json.loads((made.path.parent / "manifest.json").read_bytes())
    return found


@fuzz
@given(data=st.data())
def test_manifests(cache: Cache, manifest: dict[str, Any], data: st.DataObject) -> None:
    text = data.draw(written(manifest))
    made = cache.entry("fuzzed", _build, label="net")
    (made.path.parent / "manifest.json").write_bytes(text)
    cache.release_all()
    assert {stored.key for stored in cache.entries()} == {"fuzzed", "made"}
    found = cache.lookup("fuzzed")
    if found is not None:
        files = json.loads(text)["files"]
        assert is_kept(files, msgspec.to_builtins(msgspec.json.decode(text, type=Manifest))["files"])
        assert all((found.path / name).resolve().is_relative_to(found.path.resolve()) for name in files)
        assert all((found.path / name).stat().st_size == file["size"] for name, file in files.items())
    if len(list((cache.root / "damaged").glob("*"))) > 50:
        cache.prune(0)
        cache.entry("made", _build, label="net")


# Replies of workers


class Answering:
    """A worker that gives one reply to whatever it is asked."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply

    def request(self, op: str, **_: Any) -> Any:
        return self.reply


SOURCE = Source("fake", "model")
ARRAY = wire.pack(np.ones((2, 3), np.float32))
TIMES = wire.pack(np.array([1000, 2000], np.int64))
TENSORS = [{"name": "x", "dtype": "float32", "shape": [None, 3]}]
REPLIES: dict[str, tuple[dict[str, Any], Callable[[WorkerClient], Any]]] = {
    "probe": (
        {"present": {"device": "d", "identity": {"cores": 2}, "peak_flops": None}},
        lambda client: client.probe(),
    ),
    "versions": ({"sdk": "1.0"}, lambda client: client.versions()),
    "compile": ({"seconds": 1.5}, lambda client: client.compile(SOURCE, Path("a"), {})),
    "convert": ({"kind": "onnx", "path": "a", "seconds": 1.0}, lambda client: client.convert(SOURCE, Path("a"), {})),
    "load": ({"inputs": TENSORS, "outputs": TENSORS, "load_s": 0.5}, lambda client: client.load(Path(), {})),
    "predict": ({"outputs": {"y": ARRAY}}, lambda client: client.predict({"x": np.ones(3)})),
    "warm_up": (
        {"first_inference_ns": 5, "calls": 3, "seconds": 0.5, "steady": True},
        lambda client: client.warm_up(min_calls=1, min_s=0.1, max_s=1, window=3),
    ),
    "measure": (
        {
            "latencies_ns": TIMES,
            "waits_ns": wire.pack(np.array([], np.int64)),
            "wall_ns": 3000,
            "checked": [{"batch": 0, "outputs": {"y": ARRAY}}],
            "host_memory_mb": 30.0,
            "device_memory_mb": None,
            "parts_ms": {},
            "conditions": {"tracing": "", "throttled": ""},
        },
        lambda client: client.measure("single_stream", calls=2, checks=1),
    ),
    "time_block": ({"latencies_ns": TIMES, "cores_taken": 0.0}, lambda client: client.time_block(calls=2)),
    "placement": (
        {"on_device": 1.0, "precisions": {"fp32": 2}, "operators": {"a": "cpu:fp32"}, "flops": 5.0},
        lambda client: client.placement(),
    ),
    "intermediates": (
        {"intermediates": [{"tensor": "t", "operator": "conv", "kind": "Conv", "value": ARRAY}]},
        lambda client: client.intermediates({"x": np.ones(3)}),
    ),
}
PACKED = st.one_of(
    JSON,
    st.binary(max_size=24),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["<f4", "<i8", "|O", "<U3", "<M8[s]", "f4,i4", "", "?", "<f2", "nonsense"]),
            "shape": st.lists(st.integers(-2, 4), max_size=3),
            "data": st.binary(max_size=24),
        }
    ),
)


@pytest.mark.parametrize("operation", REPLIES)
def test_a_sound_reply_is_understood(operation: str) -> None:
    reply, ask = REPLIES[operation]
    ask(WorkerClient(Answering(dict(reply)), Deadlines(1.0, 1.0)))  # type: ignore[arg-type]


@fuzz
@given(operation=st.sampled_from(sorted(REPLIES)), data=st.data())
def test_replies(operation: str, data: st.DataObject) -> None:
    reply, ask = REPLIES[operation]
    fuzzed = data.draw(changed(reply, PACKED))
    answer = accepted(lambda: ask(WorkerClient(Answering(fuzzed), Deadlines(1.0, 1.0))))  # type: ignore[arg-type]
    if operation == "measure" and answer is not None:
        assert len(answer.latencies_ns) == 2
        assert min(answer.latencies_ns) >= 0
        assert answer.wall_ns > 0


# Files of data

ROWS: dict[str, Any] = {"x": np.arange(12, dtype=np.float32).reshape(4, 3), "y": np.arange(4)}
SIGNATURE = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 3)),), outputs=())


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


NPZ = _npz(**ROWS)
ARRAYS = st.dictionaries(
    st.sampled_from(["x", "y", "labels", "z", "../x"]),
    st.one_of(
        st.sampled_from([ROWS["x"], ROWS["y"], np.zeros((0, 3), np.float32), np.array(3.0), np.ones((4, 3))]),
        st.lists(st.floats(width=32), max_size=4).map(lambda values: np.array(values, np.float32)),
        st.text(max_size=3).map(np.array),
    ),
    max_size=3,
)


def _read_all(data: Any) -> None:
    """Read a dataset to its end. What comes has to fit the model."""
    dataset = accepted(lambda: open_dataset(data, SIGNATURE, batch_size=2))
    batches = accepted(lambda: list(dataset)) if dataset is not None else None
    if batches is None:
        return
    for batch in batches:
        assert batch.inputs["x"].shape == (2, 3)
        assert batch.inputs["x"].dtype == np.float32
        assert 1 <= batch.rows <= 2
        assert batch.labels is None or len(batch.labels) == batch.rows
    assert (sum(batch.rows for batch in batches), len(dataset.digest)) == (dataset.samples, 64)
    assert dataset.samples > 0


@fuzz
@given(content=st.one_of(bitten(NPZ), ARRAYS.map(lambda arrays: _npz(**arrays))))
def test_files_of_data(folder: Path, content: bytes) -> None:
    path = folder / "data.npz"
    path.write_bytes(content)
    _read_all(path)


# Datasets

BATCHES = st.one_of(
    st.sampled_from([ROWS["x"], ROWS["x"][:1], ROWS["y"], np.ones((4, 3)), np.ones((2, 2, 3), np.float32)]),
    st.sampled_from([{"x": ROWS["x"]}, {"x": ROWS["x"], "y": ROWS["y"]}, {"x": ROWS["x"], 1: ROWS["y"]}, {}]),
    st.sampled_from([(ROWS["x"], ROWS["y"]), (ROWS["x"], ROWS["y"][:2]), (ROWS["x"],), [ROWS["x"], ROWS["y"]]]),
    OBJECTS,
)
DATASETS = st.one_of(
    BATCHES,
    st.lists(BATCHES, max_size=3),
    st.tuples(BATCHES, BATCHES),
    BATCHES.map(lambda made: lambda: made),
    st.lists(BATCHES, max_size=2).map(lambda made: lambda: iter(made)),
    st.lists(BATCHES, max_size=2).map(iter),
)


@fuzz
@given(data=DATASETS)
@example(data=(ROWS["x"], (ROWS["x"], ROWS["y"])))
def test_datasets(data: Any) -> None:
    _read_all(data)


# Markers

REGISTRY = Registry({"fake": FAKE})
KEYWORDS = [*BUDGETS, "precision", "batch_size", "cores", "load_shape", "concurrency", "rate", "signature"]
KEYWORDS += ["input_shapes", "on_compile_error", "prune", "no_such_option", "batchsize"]
SHAPES = st.dictionaries(st.sampled_from(["x", "", "y"]), st.lists(st.one_of(st.integers(-3, 9), SCALARS), max_size=3))
FITTING = st.sampled_from(
    ["fp32", ["fp16", "int8"], 8, [1, 8], "server", "multi_stream", 100.0, 2, {"x": (3,)}, "record", True, 0.5]
)


@fuzz
@given(
    names=st.sampled_from([*([["fake"]] * 9), [], ["gpu"], [""], [3], [None], ["fake", "fake"]]),
    keywords=st.dictionaries(st.sampled_from(KEYWORDS), st.one_of(FITTING, SHAPES, OBJECTS), max_size=3),
)
@example(names=["fake"], keywords={"input_shapes": np.float32(0.5)})
@example(names=["fake"], keywords={"prune": np.array([1.0, 2.0])})
@example(names=["fake"], keywords={"signature": "\ud800"})
@example(names=["fake"], keywords={"cores": [[], []]})
def test_markers(names: list[Any], keywords: dict[str, Any]) -> None:
    for plan in accepted(lambda: list(expand_marker(names, keywords, REGISTRY))) or ():
        assert msgspec.json.decode(msgspec.json.encode(plan.variant), type=type(plan.variant)) == plan.variant
        assert msgspec.json.decode(msgspec.json.encode(plan.budgets), type=Budgets) == plan.budgets
        assert plan.variant.id.replace(".", "").replace("-", "").replace("_", "").isalnum()
        assert all(size >= 1 for shape in plan.input_shapes.values() for size in shape)


# Budgets


@fuzz
@given(keywords=st.dictionaries(st.sampled_from([*BUDGETS, "p99", ""]), OBJECTS, max_size=3))
@example(keywords={"p99_ms": 10**400})
def test_budgets(keywords: dict[str, Any]) -> None:
    budgets = accepted(lambda: check_budgets(Budgets(), keywords))
    if budgets is None:
        return
    assert msgspec.json.decode(msgspec.json.encode(budgets), type=Budgets) == budgets
    for name, value in keywords.items():
        limit = getattr(budgets, name)
        assert limit == value or (limit is None) == (value is None)
        assert limit is None or (limit >= 0 and math.isfinite(limit) and not isinstance(limit, bool))


def test_every_border_is_drilled() -> None:
    """The number of the borders is right, so that all inputs together are as many as they are said to be."""
    here = vars(sys.modules[__name__])
    assert sum(hasattr(value, "hypothesis") for value in here.values()) == BORDERS
