from __future__ import annotations

import pytest

from pytest_accel.report.sparkline import LONGEST, sparkline


def test_the_highest_value_is_the_highest_character() -> None:
    assert sparkline([1.0, 2.0, 4.0], "utf-8") == "▁▅█"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", None, "no such encoding"])
def test_a_terminal_without_blocks_gets_plain_characters(encoding: str | None) -> None:
    line = sparkline([1.0, 2.0, 4.0], encoding)
    assert line == "_=#"


def test_noise_of_a_percent_does_not_look_like_a_mountain() -> None:
    assert set(sparkline([1.0, 1.01, 0.99, 1.0], "utf-8")) <= set("▄▅")
    assert sparkline([1.0], "utf-8") in "▄▅"


def test_neighbours_of_a_long_series_share_a_character() -> None:
    assert sparkline([1.0] * 100 + [2.0] * 100, "utf-8") == "▁" * (LONGEST // 2) + "█" * (LONGEST // 2)
    assert len(sparkline([1.0] * (LONGEST + 1), "utf-8")) == LONGEST
