"""``--accel-host`` and the ini key ``accel_host``: hosts work at the same time, and a test stays the same test."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_accel.testing import FAKE
from tests.plugin.conftest import Project

#: THREE are three names of the fake accelerator, so that each can be on a machine of its own.
THREE = f"def pytest_accel_accelerators(): return dict.fromkeys(['here', 'left', 'right'], {FAKE!r})"
#: NOTES says in which process each test ran. No model is asked for: what runs where is decided before that.
NOTES = """
    import json, os, time
    from pathlib import Path

    import pytest

    @pytest.fixture
    def accel_model(request):
        yield request.param.variant.accelerator

    @pytest.mark.accelerator("here", "left", "right", batch_size=[1, 2, 3])
    def test_model(accel_model, request):
        note(request, accel_model)

    def test_plain(request):
        note(request, "plain")

    def note(request, what):
        process = os.environ.get("PYTEST_XDIST_WORKER", "only")
        with Path("ran.jsonl").open("a") as file:
            file.write(json.dumps([process, what, request.node.nodeid]) + "\\n")
"""
HOSTS = ("--accel-host=left=ssh=me@left-box", "--accel-host=right=ssh=right-box")


@pytest.fixture
def three(project: Project) -> Project:
    """A project whose tests are for this machine and two others."""
    project.pytester.makeconftest(THREE)
    project.pytester.makepyfile(test_it=NOTES)
    return project


def ran(project: Project) -> list[tuple[str, str, str]]:
    """The process, the accelerator and the id of each test that ran."""
    return [tuple(json.loads(line)) for line in (project.pytester.path / "ran.jsonl").read_text().splitlines()]


def processes(project: Project) -> dict[str, set[str]]:
    """The processes that ran the tests of each accelerator."""
    found = ran(project)
    return {what: {process for process, each, _ in found if each == what} for _, what, _ in found}


def run(project: Project, *args: str) -> pytest.RunResult:
    return project.run(*args, workers=True, subprocess=True)


def test_each_host_has_a_process_and_this_machine_has_one(three: Project) -> None:
    result = run(three, *HOSTS, "-v", "--junit-xml=junit.xml")
    result.assert_outcomes(passed=10)
    result.stdout.fnmatch_lines(["*accel: accelerators: all; * hosts: left on me@left-box, right on right-box*"])
    used = processes(three)
    assert used["plain"] == used["here"]
    assert sorted(map(len, used.values())) == [1, 1, 1, 1]
    assert len(set.union(*used.values())) == 3
    ids = {f"test_it.py::test_model[{name}-b{n}]" for name in ("here", "left", "right") for n in (1, 2, 3)}
    assert {node for _, _, node in ran(three)} == {*ids, "test_it.py::test_plain"}
    assert {f"test_it.py::{each.get('name')}" for each in ElementTree.parse("junit.xml").iter("testcase")} == {
        *ids,
        "test_it.py::test_plain",
    }


@pytest.mark.parametrize(
    "args",
    [
        HOSTS[:1],
        (*HOSTS, "--accelerator=here,left"),
        (*HOSTS, "-n0"),
        (*HOSTS, "-p", "no:xdist"),
        (*HOSTS, "--benchmark-json=benchmark.json", "-W", "ignore"),
    ],
    ids=["one host", "one host in this run", "-n 0", "without xdist", "pytest-benchmark"],
)
def test_one_process_is_enough(three: Project, args: tuple[str, ...]) -> None:
    assert three.run(*args, workers=True).ret == 0
    assert {process for process, _, _ in ran(three)} == {"only"}


def test_hosts_that_take_turns_for_want_of_xdist_are_told(three: Project) -> None:
    note = "left-box, right-box took turns; they work at the same time where pytest-xdist is: pip install pytest-xdist"
    three.run(*HOSTS, "-p", "no:xdist", workers=True).stdout.fnmatch_lines([note])
    three.run(*HOSTS, "-n0", workers=True).stdout.no_fnmatch_line(note)


def test_the_users_own_processes_are_kept_and_the_tests_of_a_host_stay_together(three: Project) -> None:
    run(three, *HOSTS, "-n2", "--dist=loadgroup").assert_outcomes(passed=10)
    used = processes(three)
    assert len(used["left"]) == len(used["right"]) == 1
    assert set.union(*used.values()) == {"gw0", "gw1"}


def test_a_test_keeps_the_group_that_it_has(three: Project) -> None:
    marked = NOTES.replace("@pytest.mark.accelerator", '@pytest.mark.xdist_group("mine")\n    @pytest.mark.accelerator')
    three.pytester.makepyfile(test_it=marked)
    run(three, *HOSTS).assert_outcomes(passed=10)
    used = processes(three)
    assert used["here"] == used["left"] == used["right"]
    assert used["plain"] != used["here"]


def test_a_test_that_ends_its_process_fails_under_its_own_name(three: Project) -> None:
    ending = NOTES.replace("note(request, accel_model)", "'left-b1' in request.node.nodeid and os._exit(3)")
    three.pytester.makepyfile(test_it=ending)
    result = run(three, *HOSTS, "--accelerator=left,right", "--accel-report=run.json", "--max-worker-restart=0")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (failure,) = json.loads(Path("run.json").read_text())["failures"]
    assert failure["test"] == "test_it.py::test_model[left-b1]"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--accel-host=left=left-box"], "--accel-host: 'left=left-box': 'left-box' is not KEY=VALUE"),
        (["--accel-host=lef=ssh=b"], "accel_host or --accel-host: unknown accelerator 'lef', did you mean 'left'?"),
        (["--accel-host=lef=ssh=b", "--accel-list"], "accel_host or --accel-host: unknown accelerator 'lef'"),
    ],
)
def test_what_cannot_be_right_ends_the_run(three: Project, args: list[str], message: str) -> None:
    result = three.run(*args, workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}*"])
