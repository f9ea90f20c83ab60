"""This module writes to pytest's terminal: whole lines, and the line that shows the progress of long work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pytest_accel.plugin.state import is_xdist_worker
from pytest_accel.report.progress import AnnouncementsOnly, ProgressLine

if TYPE_CHECKING:
    import pytest

    from pytest_accel.facts.progress import StepProgress


def progress_of(config: pytest.Config) -> StepProgress:
    """Return the progress line of this process. One without a terminal says little, to its standard error."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")

    def uncaptured(write: Callable[[str], object]) -> Callable[[str], None]:
        def writing(text: str) -> None:
            with nullcontext() if capture is None else capture.global_and_fixture_disabled():
                write(text)

        return writing

    if terminal is None or is_xdist_worker(config):
        return AnnouncementsOnly(uncaptured(lambda text: print(text, end="", file=sys.stderr, flush=True)))
    return ProgressLine(uncaptured(lambda text: terminal.write(text, flush=True)), rewrites=terminal.isatty)


def write_lines(config: pytest.Config, lines: Iterable[str]) -> None:
    """Write lines to pytest's terminal, or to the standard output where it is switched off."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    for line in lines:
        if terminal is None:
            print(line)
        else:
            terminal.write_line(line)
