"""The table of the drills: ``pytest tests/drills -m drill`` prints a row for each fault, and what was found out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drills.drill import QUESTIONS, TAG, Drill, environment
from tests.plugin.forked_runs import RunServer
from tests.plugin.forked_workers import fork_server

#: HEADS are the columns after the fault itself.
HEADS = ("verdict right", "nothing lost", "nothing left", "says what to do")


@pytest.fixture(scope="session")
def run_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunServer]:
    folder = tmp_path_factory.mktemp("run-server")
    for workers in fork_server(folder):
        server = RunServer(folder, workers, environment(), TAG)
        yield server
        server.close()


@pytest.fixture
def drill(tmp_path: Path, request: pytest.FixtureRequest, run_server: RunServer) -> Iterator[Drill]:
    """A drill that has to answer every question."""
    drill = Drill(tmp_path, run_server)
    request.node.user_properties.append(("drill", drill.answers))
    yield drill
    unanswered = [question for question, answered in drill.answers.items() if not answered]
    report: pytest.TestReport | None = getattr(request.node, "_drilled", None)
    assert not unanswered or report is None or not report.passed, f"the drill leaves out {unanswered}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item._drilled = report  # type: ignore[attr-defined]
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a row for each test below this folder; what judges itself in one question has no more columns."""
    rows = [
        row
        for outcome in ("passed", "failed", "error")
        for report in terminalreporter.stats.get(outcome, ())
        if "tests/drills/" in report.nodeid and (row := _row(report, outcome)) is not None
    ]
    if not rows:
        return
    terminalreporter.section("drills")
    names = max(len(name) for _, name, _, _ in rows)
    heads = "  ".join(head.rjust(15) for head in HEADS)
    terminalreporter.write_line(f"{'':5}  {'fault'.ljust(names)}  {heads}   s")
    for state, name, cells, seconds in sorted(rows, key=lambda row: row[1]):
        shown = "  ".join(cell.rjust(15) for cell in cells)
        terminalreporter.write_line(f"{state:5}  {name.ljust(names)}  {shown}  {seconds:4.1f}", red=state != "ok")
    wrong = sum(state != "ok" for state, *_ in rows)
    terminalreporter.write_line(f"{len(rows)} drills, {wrong} wrong", green=not wrong, red=bool(wrong))


def _row(report: Any, outcome: str) -> tuple[str, str, list[str], float] | None:
    if report.when != "call" and outcome == "passed":
        return None
    answers: dict[str, bool] = dict(getattr(report, "user_properties", ())).get("drill", {})
    cells = ["yes" if answers.get(question) else "-" for question in QUESTIONS] if answers else ["-"] * len(QUESTIONS)
    name = report.nodeid.partition("tests/drills/")[2].replace("test_", "").replace(".py::", ": ").replace("_", " ")
    return "ok" if outcome == "passed" else "WRONG", name, cells, getattr(report, "duration", 0.0)
