"""These are the keys under which the plugin keeps things on pytest's objects.

Every pytest run in the environment loads this module, so that it imports the standard library and pytest alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_accel.check.accel_model import AccelModel
    from pytest_accel.facts.errors import WorkerError
    from pytest_accel.facts.settings import Settings
    from pytest_accel.session.session import Session

#: SETTINGS holds a run's settings, on the config.
SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
#: SESSION holds this process's session, on the config, from the first accelerator test on.
SESSION: pytest.StashKey[Session] = pytest.StashKey()
#: MODEL holds a test's fixture, on the item.
MODEL: pytest.StashKey[AccelModel] = pytest.StashKey()
#: ABSENT holds, on the item, the reason why this machine does not have the accelerator, by name.
ABSENT: pytest.StashKey[dict[str, str]] = pytest.StashKey()
#: BROKEN holds, on the item, the error of a worker that could not even say whether the accelerator is present.
BROKEN: pytest.StashKey[WorkerError] = pytest.StashKey()
#: REPORT_DATA is the attribute of a test's report that carries its `ReportData` as JSON; xdist sends it along.
REPORT_DATA = "accel_data"

#: MARKED is the key under which a worker of xdist's tells its controller which of its tests are marked.
MARKED = "accel_marked"
#: WARNINGS is the key under which it tells what the user should know of its run, at the end.
WARNINGS = "accel_warnings"


def session_of(config: pytest.Config) -> Session:
    """Return the session of this process. The first call makes it."""
    if SESSION not in config.stash:
        from pytest_accel.inputs.registry import Registry
        from pytest_accel.plugin.terminal import progress_of
        from pytest_accel.session.session import Session

        registry = Registry.discover(config.hook.pytest_accel_accelerators())
        config.stash[SESSION] = Session(config.stash[SETTINGS], registry, tell=progress_of(config))
    return config.stash[SESSION]


def is_xdist_worker(config: pytest.Config) -> bool:
    """Say whether this process runs tests for xdist's controller, which alone writes and sums up."""
    return hasattr(config, "workerinput")


def is_accelerator_test(item: pytest.Item) -> bool:
    """Say whether a test is marked and asks for a model; one that needs none may share a marker with its module."""
    # This is asked of every test of every run, and the names of its fixtures are at hand.
    return "accel_model" in getattr(item, "fixturenames", ()) and item.get_closest_marker("accelerator") is not None
