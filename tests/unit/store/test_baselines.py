from __future__ import annotations

import errno
import json
import multiprocessing
import multiprocessing.connection  # before a pytest run inside a test does, which forgets what it imported
import os
import resource
import signal
import stat
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_accel.facts.errors import BaselineError
from pytest_accel.facts.fingerprint import fingerprint_of
from pytest_accel.facts.records import (
    Accuracy,
    Artefact,
    ComparedBaseline,
    Hardware,
    OutputErrors,
    Placement,
    Ratio,
    Variant,
)
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.store import baselines as module
from pytest_accel.store.baseline import MOST_OPERATORS, make_baseline, why_not_replaced, why_not_saved
from pytest_accel.store.baselines import Baselines, CompiledBaselines, dump, read
from tests.unit.facts import T4, TODAY, baseline, compiled, compiled_baseline, duet, hardware, measurement, record

SPAWN = multiprocessing.get_context("spawn")
WHERE = (T4.fingerprint, "resnet50", "gpu-trt-int8-b8")


@pytest.fixture
def store(tmp_path: Path) -> Baselines:
    return Baselines(tmp_path / "baselines")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_saved_is_found(store: Baselines) -> None:
    assert store.find(*WHERE) is None
    assert store.save(baseline())
    found = store.find(*WHERE)
    assert found is not None
    assert (found.saved, found.artefact.model_digest, found.versions["driver"]) == ("2026-11-23", "d1", "570.1")
    assert found.placement == baseline().placement
    assert found.duets[0].launches[0].log_pace == 1.6118
    assert names(store.root) == ["gpu-trt-int8-b8.json"]


def test_the_file_lies_where_the_hardware_the_model_and_the_variant_say(store: Baselines) -> None:
    store.save(baseline())
    assert store.paths() == [store.root / T4.fingerprint / "resnet50" / "gpu-trt-int8-b8.json"]


def test_a_launch_is_kept_as_its_summary(store: Baselines) -> None:
    (launch,) = baseline().launches
    assert (launch.calls, launch.items_per_call, launch.load_shape) == (100, 8, "single_stream")
    assert (launch.p50_ms, launch.p90_ms, launch.p99_ms) == (50, 90, 99)
    assert launch.throughput == pytest.approx(800 / 5.05)
    assert (launch.first_inference_ms, launch.load_s, launch.device_memory_mb) == (40, 1.5, 512)
    assert "latencies" not in dump(baseline())


def test_the_median_is_taken_over_launches() -> None:
    slow = measurement(latencies_ns=[9_000_000] * 100)
    made = make_baseline(record(), [slow, slow, measurement()], [], today=TODAY)
    assert made.median("p99_ms") == 9


def test_each_pacemaker_has_its_own_duet() -> None:
    made = baseline(duets=(duet("yardstick", "y1"), duet("own artefact", "k1")))
    assert made.duet("own artefact", "k1") == duet("own artefact", "k1")
    assert made.duet("yardstick", "y2") is None


def test_the_text_is_made_to_be_read(store: Baselines) -> None:
    text = dump(baseline())
    lines = text.splitlines()
    assert text.endswith("}\n")
    assert lines[:2] == ["{", '  "accuracy": {']
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert '      "lag1_autocorrelation": 0.123457,' in lines
    assert '          "candidate_p50_ms": 50.1235,' in lines
    assert '      "workspace_share": 0.123456789' in lines  # chosen, not measured
    assert '    "top1": 0.916667,' in lines


def test_the_same_facts_give_the_same_bytes(store: Baselines) -> None:
    versions = {"tensorrt": "10.9.0", "driver": "570.1"}
    assert dump(baseline(versions=versions)) == dump(baseline(versions=dict(reversed(versions.items()))))
    store.save(baseline())
    (path,) = store.paths()
    assert dump(read(path)) == path.read_text()


def test_a_placement_that_nobody_would_read_keeps_its_counts() -> None:
    many = {f"op{n}": "gpu:int8" for n in range(MOST_OPERATORS + 1)}
    large = Placement(on_device=1.0, precisions={"int8": len(many)}, operators=many)
    kept = baseline(placement=large).placement
    assert kept is not None
    assert (kept.operators, kept.precisions) == ({}, large.precisions)


def test_a_number_that_json_does_not_have_is_not_saved(store: Baselines) -> None:
    outputs = OutputErrors(name="y", max_abs=float("nan"), max_rel=0, normalised_l2=0, cosine=1, snr_db=None)
    bad = Accuracy(samples=1, dataset_digest="", labelled=False, agreement=1, outputs=(outputs,))
    with pytest.raises(BaselineError, match=r"accuracy\.outputs\[0\]\.max_abs is nan"):
        store.save(baseline(accuracy=bad))
    assert store.paths() == []


def test_what_was_not_measured_is_no_baseline() -> None:
    with pytest.raises(BaselineError, match="resnet50 for gpu-trt-int8-b8 was not compiled and measured"):
        make_baseline(record(), [], [], today=TODAY)
    with pytest.raises(BaselineError, match="nothing to save"):
        make_baseline(record(artefact=None), [measurement()], [], today=TODAY)


@pytest.mark.parametrize("kind", ["not-measured", "inaccurate", "sla-breach", "regressed", "inconclusive"])
def test_a_run_that_fails_or_decides_nothing_is_not_saved(kind: Any) -> None:
    verdicts = (Verdict(kind="pass", question="sla", summary=""), Verdict(kind=kind, question="sla", summary="because"))
    assert why_not_saved(record(verdicts=verdicts)).startswith(f"{kind}: because")


@pytest.mark.parametrize("kind", ["pass", "improved", "no-baseline", "incomparable"])
def test_a_run_that_holds_its_budgets_may_be_saved(kind: Any) -> None:
    assert why_not_saved(record(verdicts=(Verdict(kind=kind, question="regression", summary=""),))) == ""


def test_how_to_accept_a_slower_model_is_said() -> None:
    regressed = Verdict(kind="regressed", question="regression", summary="8 % slower", since_baseline=True)
    slow = record(verdicts=(regressed,))
    assert why_not_saved(slow).startswith("regressed: 8 % slower (to accept it: pytest-accel baseline accept ")
    assert why_not_saved(slow, accepting=True) == ""
    assert why_not_saved(record(verdicts=())) == "nothing was judged"


def test_what_breaks_a_budget_cannot_be_accepted() -> None:
    regressed = Verdict(kind="regressed", question="regression", summary="8 % slower", since_baseline=True)
    late = Verdict(kind="sla-breach", question="sla", summary="p99 9 ms")
    both = record(verdicts=(regressed, late))
    assert why_not_saved(both) == "regressed: 8 % slower; sla-breach: p99 9 ms"
    assert why_not_saved(both, accepting=True) == "sla-breach: p99 9 ms"


def test_creep_keeps_nobody_from_saving() -> None:
    """It is judged by the anchor, which stays as it is."""
    crept = Verdict(kind="regressed", question="creep", summary="12 % slower")
    assert why_not_saved(record(verdicts=(crept,))) == ""


def test_what_was_accepted_is_in_the_file(store: Baselines) -> None:
    regressed = Verdict(kind="regressed", question="regression", summary="8 % slower", since_baseline=True)
    ratio = Ratio(estimate=1.0812345678, lower=1.06, upper=1.1, confidence=0.95, launches=6, smallest_caught=0.07)
    before = ComparedBaseline(saved="2026-11-01", artefact_key="a" * 32, commit="c" * 40)
    slow = record(verdicts=(regressed,), ratio=ratio, beside=before)
    saved = make_baseline(slow, [measurement()], [], today=TODAY, because="the new head is worth it")
    store.save(saved)
    (path,) = store.paths()
    accepted = json.loads(path.read_text())["accepted"]
    assert accepted["because"] == "the new head is worth it"
    assert (accepted["ratio"]["estimate"], accepted["ratio"]["upper"]) == (1.08123, 1.1)
    assert accepted["before"] == {"artefact_key": "a" * 32, "commit": "c" * 40, "name": "", "saved": "2026-11-01"}
    assert read(path).accepted is not None


def test_where_nothing_differed_nothing_was_accepted() -> None:
    same = record(verdicts=(Verdict(kind="pass", question="regression", summary="", since_baseline=True),))
    saved = make_baseline(same, [measurement()], [], today=TODAY, because="all of it")
    assert saved.accepted is None
    assert "accepted" not in dump(saved)


@pytest.mark.parametrize("compile_only", [False, True], ids=["measured", "compiled"])
def test_another_tests_baseline_for_other_data_stays(compile_only: bool) -> None:
    stored, make, part = (
        (compiled_baseline(), compiled, "prediction") if compile_only else (baseline(), record, "accuracy")
    )
    accuracy = record().accuracy
    assert accuracy is not None
    other_data = {part: msgspec.structs.replace(accuracy, dataset_digest="s2")}
    assert why_not_replaced(stored, make(test="b.py::test_b", **other_data)).startswith(f"{stored.test} has saved it")
    assert why_not_replaced(stored, make(test="b.py::test_b")) == "", "the same data"
    assert why_not_replaced(stored, make(**other_data)) == "", "the same test"


@pytest.mark.parametrize(
    "model", ["org/resnet 50", "../../etc/passwd", "..", ".hidden", "", "é" * 300, "a:b", "x" * 300]
)
def test_any_model_name_stays_below_the_root(store: Baselines, model: str) -> None:
    store.save(baseline(model=model))
    (path,) = store.paths()
    assert path.parent.parent.parent == store.root
    assert not path.parent.name.startswith(".")
    found = store.find(WHERE[0], model, WHERE[2])
    assert found is not None
    assert found.model == model


def test_names_that_read_alike_do_not_share_a_file(store: Baselines) -> None:
    assert len({store.path("f", model, "v") for model in ("a/b", "a b", "a_b", "a//b")}) == 4


def test_other_hardware_that_has_the_baseline_is_told(store: Baselines) -> None:
    b, a, c = (hardware(device=device) for device in "bac")
    store.save(baseline(hardware=b))
    store.save(baseline(hardware=a))
    store.save(baseline(hardware=c, model="other"))
    assert store.elsewhere("resnet50", "gpu-trt-int8-b8") == [a.fingerprint, b.fingerprint]
    assert store.elsewhere("resnet50", "cpu") == []
    assert [found.model for _, found in store.iterate()] == ["resnet50", "resnet50", "other"]


def test_a_file_in_the_wrong_place_is_an_error(store: Baselines) -> None:
    store.save(baseline())
    store.path(*WHERE).rename(store.path(WHERE[0], "resnet50", "cpu"))
    with pytest.raises(
        BaselineError, match=r"cpu\.json is the baseline of .* / resnet50 / gpu-trt-int8-b8: move it to"
    ):
        store.find(WHERE[0], "resnet50", "cpu")


def test_removing_the_last_baseline_leaves_no_folder(store: Baselines) -> None:
    store.save(baseline())
    store.save(baseline(model="other"))
    store.remove(store.path(*WHERE))
    assert [path.parent.name for path in store.paths()] == ["other"]
    assert [folder.name for folder in store.root.glob("*/*")] == ["other"]
    with pytest.raises(BaselineError, match=r"gpu-trt-int8-b8\.json cannot be removed: No such file"):
        store.remove(store.path(*WHERE))
    store.remove(store.path(WHERE[0], "other", WHERE[2]))
    assert list(store.root.iterdir()) == []


def test_mode_new_leaves_a_stored_baseline_alone(store: Baselines) -> None:
    assert store.save(baseline(versions={"run": "1"}), mode="new")
    assert not store.save(baseline(versions={"run": "2"}), mode="new")
    assert read(store.path(*WHERE)).versions == {"run": "1"}
    assert store.save(baseline(versions={"run": "3"}))
    assert read(store.path(*WHERE)).versions == {"run": "3"}
    assert names(store.root) == ["gpu-trt-int8-b8.json"]


# Bad files


def edited(store: Baselines, old: str, new: str) -> Path:
    store.save(baseline())
    path = store.path(*WHERE)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def line_with(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "field", "problem"),
    [
        ('"p99_ms": 99.0', '"p99_ms": "99"', '"p99_ms": "99"', "launches[0].p99_ms: Expected float, got str"),
        ('"p99_ms": 99.0', '"p99_ms": 0', '"p99_ms": 0', "launches[0].p99_ms: Expected float > 0.0"),
        ('"model": "resnet50",', "", "{", "model: this field is missing"),
        ('"model": "resnet50",', '"model": "resnet50", "modell": 1,', "modell", "modell: there is no such field"),
        ('"schema": 2', '"schema": 0', "schema", "schema: there was no schema 0"),
        ('"schema": 2', '"schema": "1"', "schema", "schema: Expected int, got '1'"),
        ('"schema": 2', '"schema": true', "schema", "schema: Expected int, got True"),
        ('"schema": 2,', "", "{", "schema: this field is missing"),
        ('"right": "/+A="', '"right": "?"', '"right"', "accuracy.right: not base64"),
        ('"right": "/+A="', '"right": "/w=="', '"right"', "accuracy.right: 8 bits do not hold 12 samples"),
        ('"right": "/+A="', '"right": "////"', '"right"', "accuracy.right: 24 bits do not hold 12 samples"),
        (
            '"p90_ms": 90.0',
            '"p90_ms": 9',
            '"p50_ms"',
            "launches[0].p50_ms: p50, p90 and p99 have to grow",
        ),
        ('"calls": 100', '"calls": 0', '"calls"', "launches[0].calls: Expected int >= 1"),
        ('"pairs": 30', '"pairs": 0', '"pairs"', "duets[0].launches[0].pairs: Expected int >= 1"),
        (
            '"pacemaker_p50_ms": 10.0',
            '"pacemaker_p50_ms": 0',
            '"pacemaker_p50_ms"',
            "duets[0].launches[0].pacemaker_p50_ms: Expected float > 0.0",
        ),
        (
            '"log_pace": 1.6118',
            '"log_pace": 800',
            '"log_pace"',
            "duets[0].launches[0].log_pace: Expected float <= 30",
        ),
        ('"log_pace": 1.6118', '"log_pace": 1e999', '"log_pace"', "1e999 is too large a number"),
        (
            '"precision": "int8"',
            '"recision": "int8"',
            '"variant": {',
            "variant: named has 'precision', which",
        ),
        ('"schema": 2', '"schema" 2', "schema", "not JSON: Expecting ':' delimiter"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_field(
    store: Baselines, old: str, new: str, field: str, problem: str
) -> None:
    path = edited(store, old, new)
    with pytest.raises(BaselineError) as caught:
        store.find(*WHERE)
    assert str(caught.value).startswith(f"{path}:{line_with(path, field)}: {problem}")
    assert str(caught.value).endswith("or remove it and save a new one with --accel-save-baseline")


def test_a_newer_schema_asks_for_an_upgrade(store: Baselines) -> None:
    path = edited(store, '"schema": 2', '"schema": 3')
    with pytest.raises(BaselineError, match=r"schema 3 is newer than 2, .* upgrade pytest-accel$") as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{line_with(path, 'schema')}: ")


def test_an_older_schema_is_migrated(store: Baselines, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename_net(data: dict[str, Any]) -> dict[str, Any]:
        return {("model" if name == "net" else name): value for name, value in data.items()}

    path = edited(store, '"schema": 2', '"schema": 0')
    path.write_text(path.read_text().replace('"model":', '"net":'))
    monkeypatch.setitem(module.MIGRATIONS, 0, rename_net)
    assert read(path) == read_saved(store)


#: A processor as schema 1 described it, and the fingerprint that was made of that.
TWICE: dict[str, Any] = {
    "fingerprint": "intel-xeon-2c-24g-32997c",
    "identity": {
        "cores": 2,
        "cpu": "Intel(R) Xeon(R) Processor",
        "cpu_flags": "avx2 fma avx512f avx512_vnni avx_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16",
        "device": "Intel(R) Xeon(R) Processor",
        "flags": "avx2 fma avx512f avx512_vnni avx_vnni avx512_bf16 amx_tile amx_int8 amx_bf16",
        "memory_gb": 24,
        "threads_per_core": 2,
    },
}
ONCE = {name: value for name, value in TWICE["identity"].items() if name != "flags"}
XEON = Hardware(fingerprint=fingerprint_of(ONCE), identity=ONCE)


@pytest.fixture
def of_schema_1(store: Baselines) -> Path:
    """A baseline of a processor's, where the release before has put it."""
    path = store.path(TWICE["fingerprint"], *WHERE[1:])
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**json.loads(dump(baseline())), "schema": 1, "hardware": TWICE}))
    return path


def test_a_processor_that_was_described_twice_keeps_its_baseline(store: Baselines, of_schema_1: Path) -> None:
    found = store.find(XEON.fingerprint, *WHERE[1:])
    assert found is not None
    assert (found.hardware, found.artefact) == (XEON, baseline().artefact)
    assert store.find("intel-xeon-1.0c-24g-1b7c59", *WHERE[1:]) is None, "a quota makes another machine of it"
    assert store.find("intel-xeon-2c-24g-000000", *WHERE[1:]) is None


def test_a_file_in_its_place_is_never_taken_for_an_older_one(store: Baselines) -> None:
    """Another process may have put it there a moment ago, and saving removes what is older."""
    store.save(baseline())
    assert store._of_an_older_schema(store.path(*WHERE), WHERE[0]) is None


def test_saving_takes_the_place_of_the_older_file(store: Baselines, of_schema_1: Path) -> None:
    saved = store.find(XEON.fingerprint, *WHERE[1:])
    assert saved is not None
    assert store.save(saved)
    assert store.paths() == [store.path(XEON.fingerprint, *WHERE[1:])]


@pytest.mark.parametrize("hardware", [None, [], {}, {"identity": 3}, {"identity": {"flags": "avx2"}}])
def test_a_damaged_file_of_an_older_schema_is_a_clear_error(of_schema_1: Path, hardware: Any) -> None:
    of_schema_1.write_text(json.dumps({**json.loads(of_schema_1.read_text()), "hardware": hardware}))
    with pytest.raises(BaselineError, match=r"hardware.*restore it from version control"):
        read(of_schema_1)


def read_saved(store: Baselines) -> Any:
    other = Baselines(store.root / "other")
    other.save(baseline())
    return read(other.path(*WHERE))


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", ":1: not JSON"),
        (b"[]", ":1: not a JSON object"),
        (b"\xff\xfe", " is not UTF-8 text"),
        (b"[" * 100_000, ":1: not JSON of ours: its brackets are nested too deeply"),
        (b"{\n<<<<<<< HEAD\n", ":2: an unresolved merge conflict"),
    ],
)
def test_what_is_no_baseline_at_all_is_a_clear_error(store: Baselines, contents: bytes, problem: str) -> None:
    path = store.path(*WHERE)
    path.parent.mkdir(parents=True)
    path.write_bytes(contents)
    with pytest.raises(BaselineError) as caught:
        store.find(*WHERE)
    assert str(caught.value).startswith(f"{path}{problem}")


def test_a_pipe_in_its_place_is_not_waited_for(store: Baselines) -> None:
    path = store.path(*WHERE)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(BaselineError, match="cannot be read: is no regular file; choose another folder"):
        store.find(*WHERE)


# Disks and other writers


def fails(code: int) -> Callable[..., None]:
    def fail(*_args: object, **_named: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("where", "name"),
    [(os, "fsync"), (Path, "replace"), (Path, "open"), (Path, "mkdir")],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space left on device; free some space, or choose another folder with --accel-baseline-dir"),
        (errno.EROFS, "Read-only file system; choose another folder with --accel-baseline-dir"),
    ],
    ids=["full", "read-only"],
)
def test_a_failing_write_leaves_the_older_file(
    store: Baselines, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, code: int, words: str
) -> None:
    store.save(baseline(versions={"run": "1"}))
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fails(code))
        with pytest.raises(BaselineError) as caught:
            store.save(baseline(versions={"run": "2"}))
    assert str(caught.value) == f"{store.path(*WHERE)} cannot be written: {words}"
    assert read(store.path(*WHERE)).versions == {"run": "1"}
    assert names(store.root) == ["gpu-trt-int8-b8.json"]


def test_file_and_folder_reach_the_disk(store: Baselines, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    store.save(baseline())
    assert synced == [False, True]


def _save_beyond_the_file_size_limit(root: Path, answers: multiprocessing.Queue[str]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        Baselines(root).save(baseline(versions={"run": "2"}))
    except BaselineError as error:
        answers.put(str(error))


def test_a_write_that_the_system_cuts_short_leaves_the_older_file(store: Baselines) -> None:
    store.save(baseline(versions={"run": "1"}))
    answers = SPAWN.Queue()
    process = SPAWN.Process(target=_save_beyond_the_file_size_limit, args=(store.root, answers))
    process.start()
    assert "cannot be written: File too large" in answers.get(timeout=60)
    process.join()
    assert read(store.path(*WHERE)).versions == {"run": "1"}
    assert names(store.root) == ["gpu-trt-int8-b8.json"]


def test_looking_for_one_below_a_file_is_a_clear_error(store: Baselines) -> None:
    store.root.write_text("")
    with pytest.raises(BaselineError, match=r"cannot be read: .* is no folder; choose another folder"):
        store.find(*WHERE)


def test_a_root_that_is_a_file_is_a_clear_error(store: Baselines) -> None:
    store.root.touch()
    with pytest.raises(BaselineError, match=r"cannot be written: Not a directory; choose another folder"):
        store.save(baseline())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_is_not_ours_is_a_clear_error(store: Baselines) -> None:
    store.root.mkdir(mode=0o500)
    with pytest.raises(BaselineError, match="cannot be written: Permission denied"):
        store.save(baseline())


def _save_when_all_are_ready(
    root: Path, run: str, mode: Any, barrier: Barrier, wrote: multiprocessing.Queue[str]
) -> None:
    barrier.wait(timeout=60)
    for _ in range(20):
        if Baselines(root).save(baseline(versions={"run": run}), mode=mode) and mode == "new":
            wrote.put(run)
        read(Baselines(root).path(*WHERE))  # whole at every moment, whoever writes


@pytest.mark.parametrize("mode", ["new", "all"])
def test_writers_at_once_never_show_half_a_file(store: Baselines, mode: str) -> None:
    barrier, wrote = SPAWN.Barrier(3), SPAWN.Queue()
    writers = [
        SPAWN.Process(target=_save_when_all_are_ready, args=(store.root, str(n), mode, barrier, wrote))
        for n in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    kept = read(store.path(*WHERE)).versions["run"]
    if mode == "new":
        assert wrote.get(timeout=60) == kept
        assert wrote.empty()
    assert names(store.root) == ["gpu-trt-int8-b8.json"]


def test_every_folder_can_hold_many_variants(store: Baselines) -> None:
    for accelerator in ("cpu", "gpu"):
        store.save(baseline(variant=Variant(accelerator=accelerator, options={})))
    assert [path.stem for path in store.paths()] == ["cpu", "gpu"]


def test_a_baseline_of_the_smallest_check_is_read_back(store: Baselines) -> None:
    artefact = Artefact(key="k", size_mb=0, model_digest="d", compile_s=0)
    small = baseline(accuracy=None, placement=None, duets=(), artefact=artefact, versions={})
    store.save(small)
    found = store.find(*WHERE)
    assert found is not None
    assert (found.accuracy, found.placement, found.duets) == (None, None, ())


# What was compiled and not run


@pytest.fixture
def of_compiled(store: Baselines) -> CompiledBaselines:
    return CompiledBaselines(store.root)


def test_what_was_not_run_has_a_place_of_its_own(store: Baselines, of_compiled: CompiledBaselines) -> None:
    store.save(baseline())
    of_compiled.save(compiled_baseline())
    assert of_compiled.paths() == [store.root / "compile-only" / "sm75" / "resnet50" / "gpu-trt-int8-b8.json"]
    assert [path.parts[-3] for path in store.paths()] == [T4.fingerprint]
    assert of_compiled.find("sm75", *WHERE[1:]) == read(of_compiled.paths()[0])
    assert of_compiled.find("sm89", *WHERE[1:]) is None
    assert store.elsewhere(*WHERE[1:]) == [T4.fingerprint]
    assert of_compiled.elsewhere(*WHERE[1:]) == ["sm75"]
    assert not of_compiled.save(compiled_baseline(), mode="new")


def test_what_was_not_run_keeps_what_its_artefact_told(of_compiled: CompiledBaselines) -> None:
    of_compiled.save(compiled_baseline())
    (_, found), *others = of_compiled.iterate()
    assert not others
    assert (found.compiled_for, found.hardware, found.artefact.compile_s) == ("sm75", T4, 60.0)
    assert found.placement == compiled_baseline().placement
    assert found.prediction is not None
    assert found.prediction.top1 == pytest.approx(0.916667)


def test_one_kind_is_never_read_as_the_other(store: Baselines, of_compiled: CompiledBaselines) -> None:
    measured, compiled = store.path(*WHERE), of_compiled.path("sm75", *WHERE[1:])
    store.save(baseline())
    of_compiled.save(compiled_baseline())
    texts = measured.read_bytes(), compiled.read_bytes()
    measured.write_bytes(texts[1])
    compiled.write_bytes(texts[0])
    with pytest.raises(BaselineError, match=r"is of compile-only, so nothing in it was measured, and its place is for"):
        store.find(*WHERE)
    with pytest.raises(BaselineError, match=r"is measured, and its place is for the other kind; restore it from"):
        of_compiled.find("sm75", *WHERE[1:])


def test_a_check_that_was_not_compiled_alone_is_no_such_baseline() -> None:
    for changed in ({"compiled_for": ""}, {"artefact": None}):
        with pytest.raises(BaselineError, match="was not compiled alone: nothing to save"):
            compiled_baseline(**changed)


@pytest.mark.parametrize(("kind", "may"), [("compiled", True), ("inconclusive", True), ("sla-breach", False)])
def test_a_change_of_an_artefact_may_be_saved_and_a_failure_not(kind: VerdictKind, may: bool) -> None:
    verdicts = (Verdict(kind=kind, question="regression", summary="because"),)
    assert (why_not_saved(compiled(verdicts=verdicts)) == "") == may
