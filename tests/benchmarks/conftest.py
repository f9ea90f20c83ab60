"""How benchmarks tell their figures, one line each on the terminal, and how strictly these are judged."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--in-ci",
        action="store_true",
        help="benchmarks: play few rounds, and fail only what each of them finds beyond three times its limit",
    )


@pytest.fixture(scope="session")
def in_ci(pytestconfig: pytest.Config) -> bool:
    """Whether only a gross defect fails, as `rounds` says; off where this folder was not named to pytest."""
    return bool(pytestconfig.getoption("--in-ci", default=False))


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
