from __future__ import annotations

from pytest_accel.report.columns import join, pad


def test_cells_are_as_wide_as_the_widest_of_their_column() -> None:
    assert pad([["a", "1"], ["bcd", "23"]], right={1}) == [["a  ", " 1"], ["bcd", "23"]]


def test_a_column_without_text_takes_no_room() -> None:
    assert pad([["a", "", "1"], ["b", "", "2"]], right={2}) == [["a", "1"], ["b", "2"]]


def test_a_short_row_has_its_own_cells_only_and_the_others_their_places() -> None:
    assert pad([["a"], ["bc", "", "long"], ["d", "", "e"]]) == [["a "], ["bc", "long"], ["d ", "e   "]]


def test_no_rows_are_no_table() -> None:
    assert pad([]) == []


def test_a_line_has_no_spaces_at_its_end() -> None:
    assert join(["a", "b ", "   "]) == "a  b"
