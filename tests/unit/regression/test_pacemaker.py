from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.regression.pacemaker import (
    MOST_FOR_SAVED,
    OWN_ARTEFACT,
    SAVED_LAUNCHES,
    YARDSTICK,
    YARDSTICK_EDITION,
    Compared,
    against_baseline,
    play,
    yardstick,
    yardstick_pace,
)
from pytest_accel.testing import FakeAccelerator
from pytest_accel.verdict.gate import Gate
from tests.unit import facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_accel.facts.records import Duet, DuetLaunch
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.store.baseline import Baseline
    from pytest_accel.worker.accelerator import Arrays
    from tests.unit.conftest import Workshop

pytestmark = pytest.mark.usefixtures("few_pairs")

GATE = Gate()


@dataclass(frozen=True)
class Undecided(Gate):
    """Never knows, and gives up after ``most`` launches."""

    most: int = 5

    def wants_more(self, launches: Sequence[DuetLaunch], baseline: Duet | None = None) -> bool:
        return len(launches) < self.most


def inputs(*names: str) -> list[Arrays]:
    specs = tuple(TensorSpec(name=name, dtype="float32", shape=(None, 4)) for name in names)
    return synthetic(Signature(inputs=specs, outputs=()), 1)


def baseline_of(candidate: Candidate, *duets: Duet) -> Baseline:
    return facts.baseline(duets=duets, artefact=candidate.artefact, variant=candidate.variant)


def compared(workshop: Workshop, candidate: Candidate, baseline: Baseline, gate: Gate = GATE) -> Compared | None:
    return against_baseline(candidate, inputs("x"), baseline, gate)


def forget(workshop: Workshop, candidate: Candidate) -> None:
    """Take an artefact out of the cache."""
    workshop.session.cache.release(candidate.artefact.key)
    workshop.session.cache.prune(0)
    assert workshop.session.cache.lookup(candidate.artefact.key) is None


def test_the_baselines_own_artefact_is_the_pacemaker_while_it_is_cached(workshop: Workshop) -> None:
    then = workshop.compile(workshop.model(latency_ms=1.0))
    now = workshop.compile(workshop.model(latency_ms=1.3))
    result = compared(workshop, now, baseline_of(then, yardstick_pace(then, inputs("x"))))
    assert result is not None
    assert result.ratio is not None
    assert (result.duet.pacemaker, result.duet.pacemaker_digest) == (OWN_ARTEFACT, then.artefact.key)
    assert result.ratio.estimate == pytest.approx(1.3)
    assert result.baseline_duet is None


def test_an_artefact_that_was_replaced_is_not_the_baselines(workshop: Workshop) -> None:
    """Its place in the cache has another artefact, together with a manifest that fits: twice as slow, say."""
    saved = workshop.compile(workshop.model(latency_ms=1.0))
    baseline = baseline_of(saved, yardstick_pace(saved, inputs("x")))
    slower = workshop.compile(workshop.model(latency_ms=2.0))
    workshop.session.close()
    entries = workshop.folder / "cache" / "entries"
    shutil.rmtree(entries / saved.artefact.key)
    shutil.copytree(entries / slower.artefact.key, entries / saved.artefact.key)
    workshop.start_again()
    candidate = workshop.compile(workshop.model(latency_ms=1.3))
    result = compared(workshop, candidate, baseline)
    assert result is not None
    assert result.ratio is not None
    assert result.duet.pacemaker == YARDSTICK
    assert result.ratio.estimate == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content_digest": ""}, "an older release saved the baseline without the digest of its artefact"),
        ({"content_digest": "0" * 64}, "the artefact in the cache has not the content that the baseline names"),
        ({"model_digest": "0" * 64}, "the artefact that the baseline names was compiled from something else"),
    ],
)
def test_a_key_alone_does_not_make_an_artefact_the_baselines(
    workshop: Workshop, changes: dict[str, str], reason: str
) -> None:
    saved = workshop.compile(workshop.model(latency_ms=2.0))
    honest = baseline_of(saved, yardstick_pace(saved, inputs("x")))
    baseline = msgspec.structs.replace(honest, artefact=msgspec.structs.replace(saved.artefact, **changes))
    result = compared(workshop, workshop.compile(workshop.model(latency_ms=1.0)), baseline)
    assert result is not None
    assert (result.duet.pacemaker, result.no_artefact) == (YARDSTICK, reason)


def test_another_variants_artefact_is_not_the_baselines(workshop: Workshop) -> None:
    model = workshop.model()
    slower = workshop.compile(model, precision="int8")
    baseline = facts.baseline(
        duets=(yardstick_pace(slower, inputs("x")),), artefact=slower.artefact, variant=workshop.variant()
    )
    result = compared(workshop, workshop.compile(model), baseline)
    assert result is not None
    assert (result.duet.pacemaker, result.no_artefact[:40]) == (YARDSTICK, "the artefact that the baseline names was")


def test_else_it_is_the_yardstick_with_the_pace_of_then(workshop: Workshop) -> None:
    then = workshop.compile(workshop.model(latency_ms=1.0))
    pace = yardstick_pace(then, inputs("x"))
    forget(workshop, then)
    now = workshop.compile(workshop.model(latency_ms=1.3))
    result = compared(workshop, now, baseline_of(then, pace))
    assert result is not None
    assert result.ratio is not None
    assert (result.duet.pacemaker, result.duet.pacemaker_digest) == (YARDSTICK, YARDSTICK_EDITION)
    assert result.ratio.estimate == pytest.approx(1.3)
    assert result.baseline_duet == pace


def test_a_baseline_beside_another_yardstick_cannot_be_compared_with(workshop: Workshop) -> None:
    then = workshop.compile()
    forget(workshop, then)
    now = workshop.compile(workshop.model(latency_ms=1.3))
    assert compared(workshop, now, baseline_of(then, facts.duet(YARDSTICK, digest="0"))) is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"failures": {"load": {"how": "refused", "message": "made by another version"}}}, "made by another version"),
        ({"failures": {"infer": {"how": "error"}}}, "predict failed: RuntimeError: scripted failure in infer"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": [None, 9]}]}, r"takes float32[None, 9], got "),
        (
            {"inputs": [{"name": name, "dtype": "float32", "shape": [None, 4]} for name in ("x", "z")]},
            "takes the inputs ['x', 'z'], got ['x']",
        ),
    ],
    ids=["cannot be loaded", "cannot be run", "takes other shapes", "takes more inputs"],
)
def test_an_artefact_that_cannot_be_run_any_more_is_replaced_by_the_yardstick(
    workshop: Workshop, script: dict[str, Any], reason: str
) -> None:
    now = workshop.compile(workshop.model("now"))
    pace = yardstick_pace(now, inputs("x"))
    then = workshop.compile(workshop.model("then", **script))
    result = compared(workshop, now, baseline_of(then, pace))
    assert result is not None
    assert result.duet.pacemaker == YARDSTICK
    (told,) = [text for text in workshop.told if text.startswith("the baseline's artefact cannot be run any more (")]
    assert reason in told


def test_renamed_inputs_are_still_the_same_inputs(workshop: Workshop) -> None:
    then = workshop.compile(workshop.model(inputs=[{"name": "image", "dtype": "float32", "shape": [None, 4]}]))
    result = compared(workshop, workshop.compile(), baseline_of(then))
    assert result is not None
    assert result.duet.pacemaker == OWN_ARTEFACT


def test_launches_end_when_the_gate_wants_no_more(workshop: Workshop) -> None:
    candidate = workshop.compile()
    decided = compared(workshop, candidate, baseline_of(candidate))
    undecided = compared(workshop, candidate, baseline_of(candidate), Undecided())
    assert decided is not None
    assert undecided is not None
    assert (len(decided.duet.launches), len(undecided.duet.launches)) == (2, 5)
    assert re.fullmatch(r"comparing model on fake with the baseline: launch 5, at most \d+ s more", workshop.told[-1])


@pytest.mark.parametrize(("budget_s", "launches"), [(1, 2), (53, 3), (54, 4), (1000, 5)])
def test_after_the_second_one_launches_end_before_the_next_one_would_break_the_time_budget(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, budget_s: float, launches: int
) -> None:
    # Read at the start and before each launch: after three launches 40 s have passed, four would take 53.3 s.
    monkeypatch.setattr("pytest_accel.regression.pacemaker.time", SimpleNamespace(monotonic=count(step=10).__next__))
    workshop.start_again(compare_budget_s=budget_s)
    candidate = workshop.compile()
    result = compared(workshop, candidate, baseline_of(candidate), Undecided())
    assert result is not None
    assert len(result.duet.launches) == launches


def test_a_pace_for_the_baseline_is_several_launches_beside_the_yardstick(workshop: Workshop) -> None:
    pace = yardstick_pace(workshop.compile(workshop.model(latency_ms=4)), inputs("x"))
    assert (pace.pacemaker, pace.pacemaker_digest) == (YARDSTICK, YARDSTICK_EDITION)
    assert [(each.candidate_p50_ms, each.pacemaker_p50_ms) for each in pace.launches] == [(4, 1)] * SAVED_LAUNCHES
    assert workshop.told[-1] == f"pacing model on fake for the baseline: launch {SAVED_LAUNCHES} of {SAVED_LAUNCHES}"


@pytest.mark.parametrize(("disturbed", "played"), [(2, SAVED_LAUNCHES + 2), (99, MOST_FOR_SAVED)])
def test_disturbed_launches_of_a_pace_are_played_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, disturbed: int, played: int
) -> None:
    number = count()

    def spoilt(*sides: Any) -> DuetLaunch:
        return msgspec.structs.replace(play(*sides), disturbed=next(number) < disturbed)

    monkeypatch.setattr("pytest_accel.regression.pacemaker.play", spoilt)
    pace = yardstick_pace(workshop.compile(), inputs("x"))
    assert len(pace.launches) == played
    assert workshop.told[-1].endswith(f"launch {1 if disturbed == 99 else SAVED_LAUNCHES} of {SAVED_LAUNCHES}")


def test_the_yardstick_is_compiled_as_is_and_run_the_way_the_candidate_is(workshop: Workshop) -> None:
    model = workshop.model()
    candidate = workshop.compile(model, precision="int8", batch_size=8, signature="tokens", cores=2)
    options = yardstick(workshop.session, candidate.variant).options
    assert {name: options[name] for name in ("precision", "batch_size", "signature", "cores")} == {
        "precision": "fp32",
        "batch_size": 1,
        "signature": "serving_default",
        "cores": 2,
    }


def test_one_yardstick_serves_every_variant_and_run(workshop: Workshop) -> None:
    for options in ({}, {"precision": "int8"}, {"batch_size": 8}, {"cores": 2}):
        yardstick(workshop.session, workshop.variant(**options))
        workshop.start_again()
    assert workshop.count("yardstick") == 1
    assert workshop.count("compile") == 1


def test_on_an_exclusive_device_whole_launches_take_turns(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeAccelerator, "exclusive", True)
    monkeypatch.setattr("pytest_accel.regression.duet.play", None)
    then = workshop.compile(workshop.model(latency_ms=1.0))
    now = workshop.compile(workshop.model(latency_ms=1.3))
    pace = yardstick_pace(then, inputs("x"))
    result = compared(workshop, now, baseline_of(then, pace))
    assert result is not None
    assert result.ratio is not None
    assert result.ratio.estimate == pytest.approx(1.3)
    assert len(pace.launches) == SAVED_LAUNCHES
