"""The list of checks, and making them one after the other: one that fails does not end the others."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.acceptance.checks.baseline import check_more_work, check_saved_baseline, check_unchanged
from pytest_accel.acceptance.checks.contract import check_contract
from pytest_accel.acceptance.checks.identity import check_identity
from pytest_accel.acceptance.checks.lost_process import check_free_device, check_killed_process, check_out_of_memory
from pytest_accel.acceptance.checks.model_kinds import check_model_kinds
from pytest_accel.acceptance.checks.model_shapes import check_dynamic_batch, check_example
from pytest_accel.acceptance.checks.precision import check_resnet50, check_yardstick
from pytest_accel.acceptance.checks.raw_answers import check_raw_answers
from pytest_accel.acceptance.checks.vendor_tool import check_vendor_tool
from pytest_accel.acceptance.checks.work_ahead import check_work_ahead
from pytest_accel.acceptance.finding import Broken, Finding, NotApplicable
from pytest_accel.facts.acceptance import Acceptance, CheckResult
from pytest_accel.facts.errors import UsageError, WorkerError
from pytest_accel.inputs.registry import nearest

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject
    from pytest_accel.facts.acceptance import Outcome

Check = Callable[["Subject"], Finding]

#: _TOGETHER names checks that are repeated together: each needs what the one before has left in the session.
_TOGETHER = frozenset({"saved-baseline", "unchanged"})


def checks_of(precisions: Sequence[str]) -> dict[str, Check]:
    """Return all checks by name, in the order in which they are made."""
    return {
        "identity": check_identity,
        "contract": check_contract,
        **{f"yardstick-{precision}": partial(check_yardstick, precision=precision) for precision in precisions},
        **{f"resnet50-{precision}": partial(check_resnet50, precision=precision) for precision in precisions},
        "factory-ops": partial(check_example, name="factory_ops"),
        "int64-inputs": partial(check_example, name="int64_inputs"),
        "two-inputs": partial(check_example, name="two_inputs"),
        "dynamic-batch": check_dynamic_batch,
        "model-kinds": check_model_kinds,
        "vendor-tool": check_vendor_tool,
        "work-ahead": check_work_ahead,
        "saved-baseline": check_saved_baseline,
        "unchanged": check_unchanged,
        "more-work": check_more_work,
        "out-of-memory": check_out_of_memory,
        "killed-process": check_killed_process,
        "free-device": check_free_device,
        "raw-answers": check_raw_answers,
    }


def chosen(checks: dict[str, Check], only: Sequence[str]) -> dict[str, Check]:
    """Return the checks whose names, or beginnings of names, are in ``only``; all where it is empty.

    Raises `UsageError` for a name that is none.
    """
    for name in only:
        if not any(check.startswith(name) for check in checks):
            raise UsageError(f"--only={name} is no check{nearest(name, checks)} Checks: {', '.join(checks)}")
    return {name: check for name, check in checks.items() if not only or name.startswith(tuple(only))}


def accept(subject: Subject, only: Sequence[str] = (), earlier: Acceptance | None = None) -> Iterator[Acceptance]:
    """Make the checks and yield what is known after each one. An absent accelerator has no checks.

    With ``earlier``, an acceptance of the same versions, make only what that left open. Raises `UsageError` where it is
    another machine's.
    """
    checks = checks_of(subject.precisions)
    yield from made_in_turn(subject, chosen(checks, only), of=len(checks), earlier=earlier)


def made_in_turn(
    subject: Subject, checks: Mapping[str, Check], *, of: int | None = None, earlier: Acceptance | None = None
) -> Iterator[Acceptance]:
    """Make these checks, which are all that there are or some of so many."""
    session, name = subject.session, subject.accelerator
    known = Acceptance(accelerator=name, date=datetime.date.today().isoformat(), checks=of or len(checks))
    try:
        why = session.absence(name)
        versions = {} if why else session.versions(name)
    except WorkerError as error:  # an SDK that crashes when it is asked
        why = _line(error)
    if why:
        yield msgspec.structs.replace(known, absent=why)
        return
    known = msgspec.structs.replace(known, hardware=session.hardware(name), versions=versions)
    if earlier is not None:
        known = _continued(known, earlier)
        yield known
    for check_name in left_open(checks, known):
        session.tell(f"{name}: {check_name}")
        result = made(check_name, checks[check_name], subject)
        session.tell.clear()
        results = {**{each.check: each for each in known.results}, check_name: result}
        raw_answers = sorted({*known.raw_answers, *subject.raw_answers})
        known = msgspec.structs.replace(known, results=tuple(results.values()), raw_answers=tuple(raw_answers))
        yield known


def left_open(checks: Iterable[str], known: Acceptance) -> list[str]:
    """Return which of the checks have no result yet, or an undecided one."""
    decided = {result.check for result in known.results if result.outcome != "inconclusive"}
    if not decided >= _TOGETHER:
        decided -= _TOGETHER
    return [name for name in checks if name not in decided]


def _continued(known: Acceptance, earlier: Acceptance) -> Acceptance:
    """Return what is known with the results of an earlier acceptance, unless other versions are accepted here."""
    if earlier.hardware is None or known.hardware is None:
        return known
    if earlier.hardware.fingerprint != known.hardware.fingerprint:
        raise UsageError(
            f"the acceptance of {known.accelerator} in this file is of {earlier.hardware.fingerprint}, and this is "
            f"{known.hardware.fingerprint}: give this machine a file of its own, with -o"
        )
    if earlier.versions != known.versions:
        return known
    return msgspec.structs.replace(known, date=earlier.date, results=earlier.results, raw_answers=earlier.raw_answers)


def made(name: str, check: Check, subject: Subject, *, clock: Callable[[], float] = time.monotonic) -> CheckResult:
    """Make one check. Whatever it raises is a result, but for what ends the program."""
    began_s = clock()
    try:
        finding = check(subject)
    except NotApplicable as error:
        finding = Finding(str(error), outcome="not-applicable")
    except Broken as error:
        finding = Finding(str(error), outcome="failed")
    except Exception as error:  # a check of another one's SDK may raise anything
        finding = Finding(f"{type(error).__name__}: {_line(error)}", outcome="failed")
    outcome: Outcome = finding.outcome
    return CheckResult(
        check=name,
        outcome=outcome,
        reason=finding.reason.replace(str(subject.folder), "..."),
        seconds=round(max(clock() - began_s, 0.0), 2),
        numbers={key: float(f"{value:.6g}") for key, value in finding.numbers.items()},
    )


def _line(error: Exception) -> str:
    """Return the first lines of an error, which say what is wrong."""
    return " ".join(str(error).split())[:400]
