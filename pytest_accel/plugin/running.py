"""This module makes the fixture of an accelerator test, and decides how an error ends the test."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

import pytest

from pytest_accel.check.accel_model import AccelModel
from pytest_accel.facts.errors import (
    AccelError,
    BaselineError,
    CacheError,
    CompileFailed,
    LockTimeout,
    NotRun,
    Pruned,
    UsageError,
    WorkerError,
)
from pytest_accel.plugin import benchmark_export
from pytest_accel.plugin.collection import why_no_variant
from pytest_accel.plugin.state import ABSENT, BROKEN, MODEL, is_xdist_worker, session_of
from pytest_accel.report.failure import trim
from pytest_accel.session.compile_target import why_not_compiled

if TYPE_CHECKING:
    from pytest_accel.facts.records import Variant
    from pytest_accel.session.session import Session


def model_for(request: pytest.FixtureRequest) -> AccelModel:
    """Make the fixture of one test. Skip the test where its accelerator is absent; under ``--accel-strict`` fail it."""
    session = session_of(request.config)
    if (why := why_no_variant(request.node)) is not None:
        pytest.fail(f"{request.node.name} {why}", pytrace=False)
    _require_presence(request, session)
    _share_owners(request, session)
    session.baseline_owners.forget(request.node.nodeid)
    model = AccelModel(session, request.param, test=request.node.nodeid)
    if benchmark_export.can_export(request.config) and "benchmark" not in request.fixturenames:
        model.on_measurement = lambda ns, facts: benchmark_export.export(request, ns, facts)
    request.node.stash[MODEL] = model
    return model


def _share_owners(request: pytest.FixtureRequest, session: Session) -> None:
    """Let the processes of xdist's on this machine see which baselines the others use."""
    if is_xdist_worker(request.config) and request.config.pluginmanager.hasplugin("tmpdir"):
        own: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        session.baseline_owners.share(own.getbasetemp().parent / "pytest-accel-baseline-owners")


def _require_presence(request: pytest.FixtureRequest, session: Session) -> None:
    absent = request.node.stash[ABSENT] = _absent(request, session)
    for name, reason in absent.items():
        if session.settings.strict:
            pytest.fail(f"{name} absent: {reason} (--accel-strict)", pytrace=False)
        pytest.skip(f"{name} absent: {reason}")


def _absent(request: pytest.FixtureRequest, session: Session) -> dict[str, str]:
    """Return why this machine has not the accelerator or cannot have the variant, by the name of either.

    In a run that only compiles that is about the compiler. Fail a test whose worker cannot even say that.
    """
    variant: Variant = request.param.variant
    try:
        if session.settings.compile_only:
            why = why_not_compiled(session, variant)
            return {} if why is None else {variant.accelerator: why}
        if (reason := session.absence(variant.accelerator)) is not None:
            return {variant.accelerator: reason}
        lack = session.lack(variant)
        return {} if lack is None else {variant.id: lack}
    except LockTimeout as error:
        why_not = str(error)
    except WorkerError as error:
        request.node.stash[BROKEN] = error
        why_not = str(error)
    # Outside of the except clauses, so that the error is not shown as the context of this failure.
    pytest.fail(why_not, pytrace=False)


def settle(model: AccelModel, error: BaseException) -> None:
    """End the test as its marker says, if the variant was refused by the compiler or pruned from a sweep.

    A run that only compiles ends it where it would run the model.
    """
    if isinstance(error, Pruned):
        pytest.skip(f"pruned: {error}")
    if isinstance(error, NotRun):
        pytest.skip(f"compiled: {error}")
    if isinstance(error, CompileFailed):
        model.refused(error)
        if model.plan.on_compile_error == "xfail":
            pytest.xfail(str(error))
        if model.plan.on_compile_error == "record":
            pytest.skip(f"refused: {error}")


class JudgedCall:
    """This context is around the call of one test function.

    A test that raises ends as `settle` says, or with a traceback that stops at the author's line. A test that returns
    fails if nothing was measured, or if one of the budgets was not judged. In a strict run it also fails if it caught
    the failure of a check, or compiled a model that it never checked. In a run that only compiles no test passes.
    """

    def __init__(self, model: AccelModel) -> None:
        self._model = model

    def __enter__(self) -> None:
        """Let the test run."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Look at how the test ended."""
        if error is None:
            self._require(self._model.require_judged)
            if self._model.session.settings.compile_only:
                pytest.skip("compiled: nothing was run, as --accel-compile-only asks for")
        elif isinstance(error, pytest.skip.Exception):
            self._require(self._model.require_nothing_swallowed)
        elif isinstance(error, AccelError | AssertionError):
            settle(self._model, error)
            # The message of these errors is complete, and their cause is a traceback through our own lines.
            complete = isinstance(error, BaselineError | CacheError | CompileFailed)
            raise trim(error) from None if complete else error.__cause__

    def _require(self, condition: Callable[[], None]) -> None:
        broken = None
        try:
            condition()
        except UsageError as error:
            broken = str(error)
        if broken is not None:  # not within the except clause, so that the error is not shown as a context of this one
            pytest.fail(broken, pytrace=False)  # no line of the test is wrong, so none is shown
