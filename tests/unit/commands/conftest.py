"""Runs of the console script ``pytest-accel`` in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_accel.commands.main import main


class Ran:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        self.lines = out.splitlines()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> Ran:
        try:
            status = main([str(word) for word in words])
        except SystemExit as end:  # argparse's own
            status = int(end.code or 0)
        return Ran(status, *capsys.readouterr())

    return run
