"""A round beside a vendor's tool, which is a few lines of Python here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_accel.acceptance.beside_vendor import Beside, Played, write_inputs
from pytest_accel.acceptance.finding import NotApplicable
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing import FAKE, FakeAccelerator, fake_model
from pytest_accel.worker.accelerator import Source, VendorTool
from tests.unit.conftest import Workshop

TOOL = "import time; print('begin', flush=True); time.sleep(0.01 * {calls}); print('Median: 1.25')"


def beside(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tool: VendorTool | None, **changes: Any) -> Beside:
    monkeypatch.setattr(FakeAccelerator, "vendor_tool", lambda *_: tool)
    places = (workshop.folder / "artefact", workshop.folder / "inputs")
    write_inputs({"x": np.ones((1, 4), np.float32)}, places[1])
    return Beside(FakeAccelerator, workshop.variant(), *places, **{"turn_s": 0.01, "turns": 2, **changes})


def played(workshop: Workshop, contest: Beside) -> Played:
    """A round whose calls take a millisecond of the scripted clock."""
    with Worker("fake", FAKE, log_dir=workshop.folder) as worker:
        ours = WorkerClient(worker, Deadlines(compile_s=60, run_s=60))
        model = fake_model(workshop.folder / "model.fake.json")
        ours.compile(Source("fake", str(model)), contest.artefact, contest.variant.options)
        return contest.play(ours)


def python_tool(code: str) -> VendorTool:
    return VendorTool("a loop", ("-c", code), begins="begin")


def test_both_sides_tell_their_median(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    found = played(workshop, beside(workshop, monkeypatch, python_tool(TOOL.format(calls=40))))
    assert found.medians() == {"ours": 1.0, "theirs": 1.25}
    assert len(found.latencies_ns) % 10 == 0, "whole turns of ten calls"


def test_a_tool_that_tells_no_median_is_told_with_its_words(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = played(
        workshop, beside(workshop, monkeypatch, python_tool(TOOL.format(calls=40).replace("Median", "Mean")))
    )
    with pytest.raises(RuntimeError, match=r"a loop does not tell .*\nbegin"):
        found.medians()


def test_a_tool_that_is_done_at_once_is_no_comparison(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"a loop was done before ours had a turn:\nbegin"):
        played(workshop, beside(workshop, monkeypatch, python_tool("print('begin')"), turn_s=1.0))


def test_a_tool_that_is_never_done_ends(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    contest = beside(workshop, monkeypatch, python_tool("print('begin', flush=True); import time; time.sleep(60)"))
    with pytest.raises(RuntimeError, match="a loop was not done after 40 turns"):
        played(workshop, contest)


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        (None, "fake names no tool of its vendor"),
        (VendorTool("bench", (), "begin", program="no-such-program"), "no-such-program is not on the PATH"),
    ],
)
def test_where_there_is_no_tool_there_is_no_comparison(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tool: VendorTool | None, message: str
) -> None:
    with pytest.raises(NotApplicable, match=message):
        played(workshop, beside(workshop, monkeypatch, tool))


def test_the_workers_interpreter_runs_the_tool(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    link = workshop.folder / "python"
    link.symlink_to(Path(sys.executable).resolve())
    code = "import sys, time; print('begin', flush=True); time.sleep(0.4); print(sys.executable); print('Median: 1')"
    assert str(link) in played(workshop, beside(workshop, monkeypatch, python_tool(code), python=str(link))).output
