"""This module writes to pytest's terminal: whole lines, and the line that shows the progress of long work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_accel.facts.progress import Silence
from pytest_accel.plugin.state import is_xdist_worker
from pytest_accel.report.progress import ProgressLine

if TYPE_CHECKING:
    import pytest

    from pytest_accel.facts.progress import StepProgress


def progress_of(config: pytest.Config) -> StepProgress:
    """Return the progress line of this process. It is silent in a process that has no terminal."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None or is_xdist_worker(config):
        return Silence()
    capture = config.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        if capture is None:
            terminal.write(text, flush=True)
            return
        with capture.global_and_fixture_disabled():
            terminal.write(text, flush=True)

    return ProgressLine(write, rewrites=terminal.isatty)


def write_lines(config: pytest.Config, lines: Iterable[str]) -> None:
    """Write lines to pytest's terminal, or to the standard output where it is switched off."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    for line in lines:
        if terminal is None:
            print(line)
        else:
            terminal.write_line(line)
