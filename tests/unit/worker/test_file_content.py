from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.file_content import empty_folders, files_below, sha256_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000  # more than is read at a time
    (tmp_path / "net").write_bytes(content)
    assert sha256_of(tmp_path / "net") == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "other")


def test_every_file_is_found_by_its_name_in_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "empty").mkdir(parents=True)
    (outside / "data").write_bytes(b"")
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "graph").write_bytes(b"")
    (folder / "deep/back").symlink_to(folder)
    (folder / "linked").symlink_to(outside)
    (folder / "lost").symlink_to(tmp_path / "nowhere")
    found = dict(files_below(folder))
    assert found == {"graph": folder / "graph", "linked/data": folder / "linked/data"}
    assert empty_folders(folder) == ["linked/empty"]
    assert empty_folders(outside / "empty") == []
