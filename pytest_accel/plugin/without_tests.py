"""These functions do what ``--accel-list`` and ``--accel-selftest`` ask for in place of running tests."""

from __future__ import annotations

import pytest

from pytest_accel.facts.errors import AccelError
from pytest_accel.plugin.option_values import require_known
from pytest_accel.plugin.state import SETTINGS, session_of
from pytest_accel.plugin.terminal import write_lines


def run(session: pytest.Session) -> None:
    """Do what the command line asks for in place of running tests."""
    require_known(session.config.stash[SETTINGS], session_of(session.config).registry)
    if session.config.getoption("accel_list"):
        _list_accelerators(session)
    else:
        _test_the_gate(session)


def _list_accelerators(session: pytest.Session) -> None:
    from pytest_accel.report.devices import table

    hosts = session.config.stash[SETTINGS].hosts
    write_lines(session.config, table(session_of(session.config).survey(), hosts))


def _test_the_gate(session: pytest.Session) -> None:
    from pytest_accel.regression.selftest import prove_all
    from pytest_accel.report.selftest import describe

    settings = session.config.stash[SETTINGS]
    try:
        for proof in prove_all(session_of(session.config)):
            write_lines(session.config, describe(proof, settings.host_name(proof.accelerator)))
            session.testsfailed += not proof.holds
    except AccelError as error:
        raise pytest.UsageError(f"--accel-selftest: {error}") from None
