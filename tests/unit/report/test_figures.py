from __future__ import annotations

import pytest

from pytest_accel.report.figures import duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3_840, "1 h 4 min")]
)
def test_a_duration_is_told_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text
