from __future__ import annotations

import multiprocessing
import resource
import signal
from pathlib import Path

import pytest

from pytest_accel.facts.errors import AccelError
from pytest_accel.facts.records import Failure
from pytest_accel.report import github
from pytest_accel.report.github import errors, is_here, summarise, warnings
from tests.unit import facts
from tests.unit.report.test_overview import failure, record

RUN = facts.run(record("sla-breach"), failures=(failure(),))


@pytest.mark.parametrize(("environ", "here"), [({}, False), ({"GITHUB_ACTIONS": "true"}, True)])
def test_only_a_job_of_github_actions_is_one(environ: dict[str, str], here: bool) -> None:
    assert is_here(environ) == here


def test_the_summary_is_added_to_what_the_step_has(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    summarise(RUN, {"GITHUB_STEP_SUMMARY": str(path)})
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n## Failed: 1 of 1 test\n")
    assert "### Failures" in text


def test_a_job_without_a_summary_gets_none(tmp_path: Path) -> None:
    summarise(RUN, {})
    summarise(RUN, {"GITHUB_STEP_SUMMARY": ""})


def test_one_that_github_would_drop_is_cut_to_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github, "MOST_BYTES", 100)
    path = tmp_path / "summary.md"
    summarise(RUN, {"GITHUB_STEP_SUMMARY": str(path)})
    text = path.read_text(encoding="utf-8")
    assert text.startswith("## Failed: 1 of 1 test\n")
    assert text.endswith(
        "\nLeft out, because more is not shown here: tables (1), failures (1), versions (1). "
        "`--accel-report=report.html` writes it all.\n"
    )


def test_one_that_cannot_be_written_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(AccelError, match=r"^GITHUB_STEP_SUMMARY=.+: Is a directory$"):
        summarise(RUN, {"GITHUB_STEP_SUMMARY": str(tmp_path)})


def _summarise_beyond_the_file_size_limit(path: Path, answers: multiprocessing.Queue[str]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        summarise(RUN, {"GITHUB_STEP_SUMMARY": str(path)})
    except AccelError as error:
        answers.put(str(error))


def test_one_that_does_not_fit_the_disk_leaves_what_the_step_has(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    process = spawn.Process(target=_summarise_beyond_the_file_size_limit, args=(path, answers))
    process.start()
    assert answers.get(timeout=60).endswith("File too large")
    process.join()
    assert path.read_text(encoding="utf-8") == "before\n"


def test_an_error_is_beside_the_line_that_failed() -> None:
    failure = Failure(test="t.py::t[a,b]", file="tests/t.py", line=7, message="100 % slower\nthan: before")
    assert list(errors([failure], Path("/checkout/project"), {"GITHUB_WORKSPACE": "/checkout"})) == [
        "::error file=project/tests/t.py,line=7,title=t.py%3A%3At[a%2Cb]::100 %25 slower%0Athan: before"
    ]
    (alone,) = errors([failure], Path("/checkout/project"), {})
    assert alone.startswith("::error file=tests/t.py,line=7,")


def test_a_note_is_a_warning_on_one_line() -> None:
    assert list(warnings(["one\ntwo"])) == ["::warning title=accelerators::one%0Atwo"]
