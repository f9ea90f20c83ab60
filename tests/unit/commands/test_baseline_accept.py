from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_accel.facts.records import Ratio, TestRecord
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.report.write import write
from pytest_accel.store.baseline import Baseline
from pytest_accel.store.baselines import Baselines
from pytest_accel.store.named_baselines import copy, folder_of, move_anchor
from tests.unit import facts
from tests.unit.commands.conftest import Ran

RATIO = Ratio(estimate=1.3, lower=1.25, upper=1.36, confidence=0.95, launches=4, smallest_caught=0.06)
BECAUSE = "--because=the new head is worth it"


def beside(kind: VerdictKind) -> Verdict:
    return Verdict(kind=kind, question="regression", summary=f"it is {kind}", since_baseline=True)


@pytest.fixture
def store(tmp_path: Path) -> Baselines:
    """The folder with the baseline that the record was compared with."""
    store = Baselines(tmp_path / "baselines")
    store.save(facts.baseline())
    return store


def only(store: Baselines) -> Baseline:
    ((_, stored),) = store.iterate()
    return stored


def record(kind: VerdictKind = "regressed", **changed: Any) -> TestRecord:
    made: dict[str, Any] = {
        "verdicts": (beside(kind),),
        "measurement": facts.measurement(latencies_ns=[60_000_000] * 100),
        "ratio": RATIO,
        "beside": facts.baseline().compared(),
        "pace": facts.duet(),
    }
    return facts.record(**{**made, **changed})


def save_run(folder: Path, *records: TestRecord) -> Path:
    write([facts.run(*records)], folder / "run.json")
    return folder / "run.json"


def test_a_slower_model_becomes_the_baseline_without_another_run(
    run: Callable[..., Ran], store: Baselines, tmp_path: Path
) -> None:
    ran = run("baseline", "accept", save_run(tmp_path, record()), BECAUSE)
    assert (ran.status, ran.err) == (0, "")
    (path,) = store.paths()
    assert ran.lines == [f"accepted: resnet50[gpu-trt-int8-b8] ×1.300, {path.relative_to(tmp_path)}"]
    stored = only(store)
    assert stored.launches[0].p50_ms == 60.0
    assert len(stored.duets) == 1
    assert stored.saved == "2026-11-23"  # the day of the run
    assert stored.accepted is not None
    assert (stored.accepted.because, stored.accepted.ratio) == ("the new head is worth it", RATIO)
    assert stored.accepted.before == facts.baseline().compared()


def test_a_faster_one_is_taken_in_the_same_way(run: Callable[..., Ran], store: Baselines, tmp_path: Path) -> None:
    assert run("baseline", "accept", save_run(tmp_path, record("improved")), BECAUSE).status == 0
    assert only(store).accepted is not None


def test_what_passes_is_left_alone(run: Callable[..., Ran], store: Baselines, tmp_path: Path) -> None:
    before = only(store)
    ran = run("baseline", "accept", save_run(tmp_path, record("pass")), BECAUSE)
    assert ran.status == 1
    assert ran.out.startswith("nothing to accept: no check in ")
    assert only(store) == before


def test_words_choose_the_checks(run: Callable[..., Ran], store: Baselines, tmp_path: Path) -> None:
    saved = save_run(tmp_path, record())
    ran = run("baseline", "accept", saved, "bert", BECAUSE)
    assert (ran.status, ran.lines) == (1, [f"nothing to accept: no check in {saved} has bert"])
    assert run("baseline", "accept", saved, "resnet50", "gpu-trt", BECAUSE).status == 0


LATE = Verdict(kind="sla-breach", question="sla", summary="p99 9 ms")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"verdicts": (beside("regressed"), LATE)}, "sla-breach: p99 9 ms"),
        ({"verdicts": (beside("pass"),)}, "it does not differ from a baseline, so there is nothing to accept"),
        ({"compiled_for": "sm75"}, "it was not run; --accel-compile-only --accel-save-baseline=accept takes it over"),
        (
            {"beside": msgspec.structs.replace(facts.baseline().compared(), saved="2025-01-01")},
            "gpu-trt-int8-b8.json is not the baseline that this run was compared with: run the test again",
        ),
        ({"model": "bert"}, "its baseline is gone, "),
    ],
    ids=["a broken budget", "nothing differs", "not run", "another baseline", "no baseline"],
)
def test_why_a_check_is_not_accepted(
    run: Callable[..., Ran], store: Baselines, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    before = only(store)
    ran = run("baseline", "accept", save_run(tmp_path, record(**changed)), "gpu-trt", BECAUSE)
    assert ran.status == 1
    assert ran.out.startswith("not accepted: ")
    assert reason in ran.out
    assert only(store) == before


def test_what_can_be_accepted_is_although_something_else_cannot(
    run: Callable[..., Ran], store: Baselines, tmp_path: Path
) -> None:
    ran = run("baseline", "accept", save_run(tmp_path, record(), record(model="bert")), BECAUSE)
    assert ran.status == 1
    assert [line.partition(":")[0] for line in ran.lines] == ["accepted", "not accepted"]


def test_the_anchor_accepts_nothing(run: Callable[..., Ran], store: Baselines, tmp_path: Path) -> None:
    copy(store.root, "v1", store.paths())
    saved = save_run(tmp_path, record(beside=facts.baseline().compared("v1")))
    assert run("baseline", "accept", saved, BECAUSE).status == 0
    assert only(Baselines(folder_of(store.root, "v1"))).accepted is not None
    move_anchor(store.root, "v1")
    ran = run("baseline", "accept", saved, BECAUSE)
    assert "v1 is the anchor, so what it has stays as it is" in ran.out


def test_a_reason_is_needed(run: Callable[..., Ran], store: Baselines, tmp_path: Path) -> None:
    saved = save_run(tmp_path, record())
    assert "--because" in run("baseline", "accept", saved).err
    ran = run("baseline", "accept", saved, "--because= ")
    assert (ran.status, "--because is empty" in ran.err) == (2, True)
