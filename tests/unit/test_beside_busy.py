from __future__ import annotations

import re
import tempfile
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.beside_busy import main

if TYPE_CHECKING:
    import pytest

SECOND_RUN_FAILS = """
from pathlib import Path

import psutil

def test_second_run_fails():
    runs = Path(__file__).with_name("runs")
    with runs.open("a") as file:
        print(len(psutil.Process().parent().children()), file=file)
    assert len(runs.read_text().splitlines()) != 2, "the second run"
"""


def test_the_run_that_failed_is_told_and_its_output_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "test_file.py").write_text(SECOND_RUN_FAILS)
    resource_tracker.ensure_running()  # as it does beside the first process that is spawned
    before = psutil.Process().children()
    status = main(["--runs", "2", "--processes", "1", "--", str(tmp_path / "test_file.py"), "-p", "no:cacheprovider"])
    first, second, summary = capsys.readouterr().out.splitlines()
    assert status == 1
    assert re.fullmatch(r"run 1 of 2: \d+\.\d s, 1 passed in .*s", first)
    (kept,) = tmp_path.glob("beside-busy-run-2-*.txt")
    assert re.fullmatch(rf"run 2 of 2: \d+\.\d s, FAILED with status 1, 1 failed in .*s, all in {kept}", second)
    assert summary == "failed runs: 2"
    assert "AssertionError: the second run" in kept.read_text()
    beside = [int(line) for line in (tmp_path / "runs").read_text().splitlines()]
    assert min(beside) >= len(before) + 2, "the run itself and the busy process"


def test_when_every_run_passes_so_does_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_file.py").write_text("def test_passes(): pass")
    assert main(["--runs", "1", "--processes", "0", "--", str(tmp_path / "test_file.py")]) == 0
    assert capsys.readouterr().out.endswith("\nfailed runs: none\n")
