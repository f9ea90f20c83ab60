"""This module lets the hosts of a run work at the same time: each has a process of pytest-xdist's, and keeps its order.

All tests of a host are a group of xdist's, so that one process runs them one after the other. What a process does on
its host is not told here.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.plugin.collection import plan_of
from pytest_accel.plugin.state import is_xdist_worker, session_of
from pytest_accel.store.files import write_whole
from pytest_accel.store.scratch import Scratch

if TYPE_CHECKING:
    from pytest_accel.facts.settings import Host, Settings

#: HERE is the group of all tests that run on this machine.
HERE = "this-machine"
#: GROUPS is the key under which a process of xdist's is told the file for the groups of its tests.
GROUPS = "accel_groups"
#: SPREAD is the key under which it is told that it was started for the hosts, and not by the user.
SPREAD = "accel_spread"
#: _BENCHMARK_FILES are what pytest-benchmark writes, unless there is more than one process.
_BENCHMARK_FILES = ("benchmark_only", "benchmark_json", "benchmark_save", "benchmark_autosave", "benchmark_histogram")


def group_of(host: Host) -> str:
    """Return the name of a host's group, which is the same for all users of it, and in which xdist finds no ``@``."""
    return re.sub(r"[^\w.-]+", "-", re.sub(r"\S*@", "", host.ssh))


def groups(settings: Settings) -> set[str]:
    """Return the groups of the hosts that this run may use."""
    wanted = settings.accelerators
    return {group_of(host) for name, host in settings.hosts.items() if wanted is None or name in wanted}


def arrange(config: pytest.Config, settings: Settings) -> None:
    """Group the tests by their hosts, and start a process for each host where the user has not said how many."""
    if is_xdist_worker(config):
        told: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
        config.pluginmanager.register(HostGroups(settings, told.get(GROUPS, ""), spread=told.get(SPREAD, False)))
        return
    spread = len(groups(settings)) > 1 and _may_spread(config)
    if spread:
        config.option.numprocesses = len(groups(settings)) + 1  # and this machine
        config.option.tx = ["popen"] * config.option.numprocesses
        config.option.dist = "loadgroup"
    config.pluginmanager.register(HostGroups(settings, "", spread=spread))
    if getattr(config.option, "dist", "no") == "loadgroup" and all("popen" in tx for tx in config.option.tx):
        config.pluginmanager.register(HostProcesses(spread=spread))


def _may_spread(config: pytest.Config) -> bool:
    """Say whether xdist is there, and nothing on the command line is for one process or for other processes."""
    if not config.pluginmanager.hasplugin("xdist") or config.option.collectonly or config.option.usepdb:
        return False
    if any(config.getoption(name, None) for name in _BENCHMARK_FILES):
        return False
    return config.option.numprocesses is None and config.option.dist == "no" and not config.option.tx


class HostGroups:
    """This plugin groups the tests, in each process that collects them.

    With ``spread`` the processes are there for the hosts alone, so that all tests of this machine stay in one of them.
    ``file`` is where the groups are written to, and is empty where nobody asks for them.
    """

    def __init__(self, settings: Settings, file: str, *, spread: bool) -> None:
        self._settings = settings
        self._file = file
        self._spread = spread

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Put each test into the group of its host, before xdist looks. A test that has a group keeps it."""
        for item in items if config.pluginmanager.hasplugin("xdist") else ():
            group = self._group(item) or (HERE if self._spread else "")
            if group and item.get_closest_marker("xdist_group") is None:
                item.add_marker(pytest.mark.xdist_group(group))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Write the groups before xdist sends the tests, or say that hosts take turns for want of xdist."""
        if self._file:
            marked = {item.nodeid: mark for item in session.items if (mark := item.get_closest_marker("xdist_group"))}
            write_whole(Path(self._file), json.dumps({test: _name(mark) for test, mark in marked.items()}))
        found = sorted(set(filter(None, map(self._group, session.items))))
        if len(found) > 1 and not session.config.pluginmanager.hasplugin("xdist"):
            session_of(session.config).warn(
                f"{', '.join(found)} took turns; they work at the same time where pytest-xdist is: "
                "pip install pytest-xdist"
            )

    def _group(self, item: pytest.Item) -> str:
        """Return the group of the host that a test is for, which is empty for a test of this machine."""
        plan = plan_of(item)
        host = self._settings.hosts.get(plan.variant.accelerator) if plan is not None else None
        return group_of(host) if host is not None else ""


def _name(mark: pytest.Mark) -> str:
    """Return the name of a group as xdist reads it."""
    return str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))


class HostProcesses:
    """This plugin deals the tests out by their groups, in the process that has started the others.

    xdist itself tells groups by what it adds to the ids of tests, which pytest 9.2 does not let it. So a test has the
    same id in one process and in several.
    """

    def __init__(self, *, spread: bool) -> None:
        self._spread = spread
        self._scratch = Scratch()

    @property
    def _file(self) -> Path:
        return self._scratch.path / "groups.json"

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a process where to write the groups, and why it is there."""
        node.workerinput.update({GROUPS: str(self._file), SPREAD: self._spread})

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> object:
        """Return what keeps the tests of a group together."""
        from xdist.scheduler import LoadScopeScheduling

        scheduling = LoadScopeScheduling(config, log)
        scheduling._split_scope = lambda test: self._groups.get(test, test)  # what xdist's own subclasses replace
        return scheduling

    @cached_property
    def _groups(self) -> dict[str, str]:
        """The group of each test that has one. Every process has written the same ones before any test is dealt."""
        read: dict[str, str] = json.loads(self._file.read_text(encoding="utf-8"))
        return read

    def pytest_unconfigure(self) -> None:
        """Remove the file."""
        self._scratch.close()
