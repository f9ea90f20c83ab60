from __future__ import annotations

import pytest

from pytest_accel.machine.conditions import ForeignLoad, conditions
from pytest_accel.worker.hardware.cpu_quota import cpu_quota_cores

FACTS = {"tracing": "COV_CORE_SOURCE", "cpu_quota_cores": 1.0, "governor": "powersave"}


def load(*samples: tuple[float, float | None]) -> ForeignLoad:
    """The load on a machine that tells these: a clock, and the CPU seconds of others."""
    told = iter(samples)
    return ForeignLoad(lambda _op: dict(zip(("clock_s", "foreign_s"), next(told), strict=True)))


def test_foreign_load_is_what_others_used_in_cores() -> None:
    assert load((0.0, 90.0), (10.0, 105.0)).cores() == pytest.approx(1.5)


def test_counters_that_tick_apart_never_give_a_load_below_nothing() -> None:
    assert load((0.0, 5.0), (1.0, 4.99)).cores() == 0.0
    assert load((3.0, 5.0), (3.0, 6.0)).cores() == 0.0


def test_a_machine_that_does_not_tell_has_no_known_load() -> None:
    assert load((0.0, None), (1.0, None)).cores() is None


def test_conditions_gather_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_accel.worker.timing.process_state.watchers", lambda: ["a trace function"])
    found = conditions(lambda _op: dict(FACTS), in_process=True, foreign_load_cores=0.25)
    assert (found.tracing, found.in_process) == ("COV_CORE_SOURCE, a trace function", True)
    assert (found.cpu_quota_cores, found.governor, found.foreign_load_cores) == (1.0, "powersave", 0.25)


def test_trace_functions_count_only_where_the_model_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_accel.worker.timing.process_state.watchers", lambda: ["a trace function"])
    assert conditions(lambda _op: {**FACTS, "tracing": ""}).tracing == ""


def test_this_machine_is_asked_by_default() -> None:
    assert conditions().cpu_quota_cores == cpu_quota_cores()
    assert ForeignLoad().cores() is not None
