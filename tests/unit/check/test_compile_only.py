from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.check.compile_only import CompileOnlyCheck
from pytest_accel.check.failed import CheckFailed, require_passed
from pytest_accel.facts.records import Budgets
from pytest_accel.facts.settings import Saving
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.facts.settings import SaveMode
    from tests.unit.conftest import Workshop

TEST = "test_it.py::test_it[fake]"


@pytest.fixture
def runner(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A machine without the device, whose compiler works for it."""
    absent = {"kind": "no-hardware", "reason": "none", "action": "get one"}
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({"missing": absent, "target": "fake-1000"}))
    workshop.start_again(compile_only=True)
    return workshop


def check_of(workshop: Workshop, script: dict[str, Any] | None = None, **budgets: float) -> CompileOnlyCheck:
    plan = workshop.plan()
    candidate = workshop.compile(workshop.model(**(script or {})))
    return CompileOnlyCheck(candidate, plan=plan, budgets=Budgets(**budgets), test=TEST)


def checked(workshop: Workshop, script: dict[str, Any] | None = None, **budgets: float) -> TestRecord:
    return check_of(workshop, script, **budgets).run(None, None)


def test_nothing_is_asked_of_a_worker_but_to_compile_and_to_inspect(runner: Workshop) -> None:
    record = checked(runner)
    assert set(runner.asked) == {"target", "probe", "compile", "inspect"}
    assert (record.key, record.measurement, record.accuracy) == ("", None, None)
    assert [verdict.kind for verdict in record.verdicts] == ["no-baseline", "compiled"]


def test_its_placement_is_the_compilers(runner: Workshop) -> None:
    assert checked(runner).placement is None
    answer = checked(runner, {"compiler_tells": True, "on_device": 0.75})
    assert answer.placement is not None
    assert answer.placement.on_device == 0.75
    assert answer.verdicts[0].summary.startswith("Placement: 75 % of the operators are to run on the device, ")


def test_budgets_of_the_project_hold_here_too(runner: Workshop) -> None:
    runner.start_again(compile_only=True, budgets={"max_compile_s": 1.0})
    record = check_of(runner).run(None, None)
    with pytest.raises(CheckFailed, match=r"sla-breach: .* 2 s > 1 s"):
        require_passed(record, strict=False)


@pytest.mark.parametrize(("save", "times"), [("all", 2), ("new", 1)])
def test_it_is_saved_as_the_run_asks_for(runner: Workshop, save: SaveMode, times: int) -> None:
    runner.start_again(compile_only=True, save=Saving(save))
    first = checked(runner)
    runner.start_again(compile_only=True, save=Saving(save))
    second = checked(runner, {"compile_s": 3.0})
    assert first.baseline == "baselines/compile-only/fake-1000/model/fake.json saved"
    assert [record.baseline != "" for record in (first, second)].count(True) == times
    assert first.kind == "compiled"
