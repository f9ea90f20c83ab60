from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_accel.session.batch_layout import BatchLayout
from pytest_accel.session.expected_outputs import Call, ExpectedOutputs, write_calls, write_rows

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.arange(10, dtype=np.float32).reshape(5, 2)


def layout(**axes: int | None) -> BatchLayout:
    return BatchLayout(axes=axes, any_company=True)


def calls(size: int) -> list[Call]:
    """Calls of so many rows, of which the last is padded with its first one."""
    made = []
    for start in range(0, 5, size):
        part = ROWS[start : start + size]
        full = np.concatenate([part, part[:1].repeat(size - len(part), axis=0)])
        made.append(Call({"y": full, "state": np.stack([full, full])}, size, len(part)))
    return made


def listed(outputs: ExpectedOutputs, size: int, name: str) -> list[Any]:
    return [call[name].tolist() for call in outputs.calls(size)]


def test_rows_of_large_calls_serve_calls_of_any_size(tmp_path: Path) -> None:
    write_rows(tmp_path, layout(y=0, state=1), calls(4))
    read = ExpectedOutputs.read(tmp_path)
    assert read.unsplit == set()
    assert listed(read, 2, "y") == [ROWS[:2].tolist(), ROWS[2:4].tolist(), ROWS[4:].tolist()]
    assert listed(read, 3, "state") == [[ROWS[:3].tolist()] * 2, [ROWS[3:].tolist()] * 2]


def test_what_turns_out_not_to_be_rows_is_named_and_nothing_else_is_kept(tmp_path: Path) -> None:
    longer = Call({"y": np.ones((2, 7), np.float32), "state": np.ones((2, 2, 2), np.float32)}, 2, 2)
    write_rows(tmp_path, layout(y=0, state=1), [*calls(2), longer])
    read = ExpectedOutputs.read(tmp_path)
    assert (read.unsplit, list(read.calls(2))) == (frozenset("y"), [])


def test_calls_are_kept_as_they_are(tmp_path: Path) -> None:
    given = [
        Call({"found": np.ones((count, 2), np.int64) * count, "mean": np.float32(count) * np.ones(())}, 2, rows)
        for count, rows in ((3, 2), (0, 2), (2, 1))
    ]
    write_calls(tmp_path, layout(found=None, mean=None), given)
    read = ExpectedOutputs.read(tmp_path)
    for call, expected in zip(read.calls(2), given, strict=True):
        assert call.keys() == expected.outputs.keys()
        assert all(np.array_equal(call[name], expected.outputs[name]) for name in call)
        assert call["mean"].shape == ()


def test_of_calls_the_layout_says_what_has_turned_out_not_to_be_rows(tmp_path: Path) -> None:
    given = [Call({"y": np.ones((1, length)), "z": np.ones((1, 3))}, 1, 1) for length in (3, 4, 3)]
    write_calls(tmp_path, layout(y=0, z=0), given)
    assert ExpectedOutputs.read(tmp_path).layout.axes == {"y": None, "z": 0}
