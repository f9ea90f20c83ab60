"""How a benchmark tells its figures: one line on the terminal, whatever is captured."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Write one line to the terminal at once."""
    terminal = pytestconfig.pluginmanager.getplugin("terminalreporter")
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(line)

    return write
