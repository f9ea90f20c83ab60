from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.worker.accelerators.tensorrt import kept_files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert kept_files.read(str(tmp_path / "times")) == b""


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "times"
    path.write_bytes(b"longer than before")
    kept_files.replace(str(path), b"new")
    assert kept_files.read(str(path)) == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["times"]
