from __future__ import annotations

import pytest

from pytest_accel.facts.acceptance import Acceptance
from pytest_accel.report.acceptance_table import BEGIN, END, page_with, row, table
from tests.unit.facts import acceptance, hardware


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (acceptance("held", "held", "refused"), "accepted: 2 held, 1 refused"),
        (acceptance("held", "inconclusive"), "undecided: 1 held, 1 inconclusive"),
        (acceptance("held", "failed"), "failed: 1 held, 1 failed"),
        (acceptance("held", checks=3), "partial: 1 held, 2 not made"),
    ],
)
def test_a_row_says_how_the_checks_ended(made: Acceptance, told: str) -> None:
    assert row(made) == f"| `gpu-trt` | Tesla T4 | tensorrt 10.9.0 | 2026-11-29 | {told} |"


def test_an_absent_accelerator_says_why() -> None:
    absent = Acceptance(accelerator="inf1", date="2026-11-29", checks=9, absent="no /dev/neuron0 | rent one")
    assert row(absent) == "| `inf1` |  |  | 2026-11-29 | absent: no /dev/neuron0 / rent one |"


def test_the_table_has_the_newest_row_of_each_hardware_and_names_those_without() -> None:
    older, newer = acceptance("failed", date="2026-11-01"), acceptance("held", date="2026-11-29")
    other = acceptance("held", hardware=hardware(cores=8))
    absent = Acceptance(accelerator="inf1", date="2026-11-29", checks=9, absent="not here")
    lines = table([newer, older, other, absent], ["gpu-trt", "inf1"]).splitlines()
    assert len(lines) == 5
    assert all("accepted: 1 held" in line for line in lines[2:4])
    assert lines[4] == "| `inf1` |  |  |  | not yet |"


def test_a_page_gets_the_table_between_its_marks() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert page_with(page, "| new |") == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        page_with("no table here", "| new |")
