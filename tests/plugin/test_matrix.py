"""``pytest-accel matrix``: the jobs that CI has to start, by what pytest would collect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_accel.commands.main import main
from tests.plugin.conftest import Project

TESTS = """
    import pytest

    @pytest.mark.accelerator("fake", "cpu")
    @pytest.mark.accelerator("gpu-trt", precision=["fp16", "int8"], batch_size=[1, 8])
    def test_model(accel_model):
        raise AssertionError("nothing is run")

    @pytest.mark.accelerator("fake", batch_size=2)
    def test_nightly_model(accel_model):
        raise AssertionError("nothing is run")

    def test_unmarked():
        pass
"""


@pytest.fixture
def marked(project: Project) -> Project:
    project.pytester.makepyfile(TESTS)
    return project


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """The jobs of a call that succeeds; what it prints has to fit into one line of ``$GITHUB_OUTPUT``."""
    capsys.readouterr()
    assert main(["matrix", *words]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    matrix = json.loads(line)
    assert list(matrix) == ["include"]
    jobs: list[dict[str, Any]] = matrix["include"]
    return jobs


def test_it_prints_a_job_for_each_accelerator_that_a_marker_names(
    marked: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(capsys, "--runner", "cpu=ubuntu-latest", "--runner", "gpu-trt=self-hosted, T4") == [
        {"accelerator": "cpu", "runner": ["ubuntu-latest"], "tests": 1},
        {"accelerator": "fake", "runner": ["self-hosted", "fake"], "tests": 2},
        {"accelerator": "gpu-trt", "runner": ["self-hosted", "T4"], "tests": 4},
    ]


@pytest.mark.parametrize(
    ("words", "tests"),
    [
        (["--", "-k", "nightly"], {"fake": 1}),
        (["--", "--accelerator=cpu,fake"], {"cpu": 1, "fake": 2}),
        (["test_matrix_other.py"], {"inf1": 1}),
    ],
)
def test_arguments_of_pytests_choose_the_tests(
    marked: Project, capsys: pytest.CaptureFixture[str], words: list[str], tests: dict[str, int]
) -> None:
    other = "import pytest\n@pytest.mark.accelerator('inf1')\ndef test_other(accel_model): pass\n"
    marked.pytester.makepyfile(test_matrix_other=other)
    assert {job["accelerator"]: job["tests"] for job in planned(capsys, *words)} == tests


def test_what_the_project_adds_to_every_call_counts(marked: Project, capsys: pytest.CaptureFixture[str]) -> None:
    marked.pytester.makeini("[pytest]\naddopts = -n 2 -k 'not nightly' --accelerator=fake\n")
    assert [job["tests"] for job in planned(capsys)] == [1]


def test_a_project_without_a_marker_has_no_job(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.pytester.makepyfile("def test_unmarked(): pass")
    assert main(["matrix"]) == 1
    ran = capsys.readouterr()
    assert ran.out == '{"include":[]}\n'
    assert ran.err == "pytest-accel: no test is marked accelerator, so there is no job to start\n"


def test_tests_that_cannot_be_collected_are_trouble_and_told(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.pytester.makepyfile("import pytest\n@pytest.mark.accelerator('gpu')\ndef test_it(): pass\n")
    assert main(["matrix"]) == 2
    ran = capsys.readouterr()
    assert ran.out == ""
    assert ran.err.startswith("pytest-accel: the tests cannot be collected, so no job can be planned:\n")
    assert "is marked accelerator but never asks for the fixture accel_model" in ran.err


def test_a_runner_for_what_no_test_asks_for_is_trouble(marked: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--runner", "gpu_trt=T4"]) == 2
    assert "--runner gpu_trt: no test asks for this accelerator, did you mean 'gpu-trt'?" in capsys.readouterr().err
