from __future__ import annotations

from pathlib import Path

import pytest

from pytest_accel.facts.errors import BaselineError, UsageError
from pytest_accel.store.baselines import Baselines, CompiledBaselines
from pytest_accel.store.named_baselines import anchor, copy, folder_of, is_name, move_anchor, names, require
from tests.unit.facts import baseline, compiled_baseline


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two baselines, one of which was not run, and none that has a name."""
    Baselines(tmp_path).save(baseline())
    CompiledBaselines(tmp_path).save(compiled_baseline())
    return tmp_path


def all_of(root: Path) -> list[Path]:
    return [*Baselines(root).paths(), *CompiledBaselines(root).paths()]


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("release-1.4", True),
        ("v2", True),
        ("_x", True),
        ("", False),
        (".hidden", False),
        ("../other", False),
        ("a/b", False),
        ("a b", False),
        ("new", False),
        ("n" * 101, False),
    ],
)
def test_what_can_be_a_name(text: str, may: bool) -> None:
    assert is_name(text) is may


def test_a_copy_is_read_like_the_baselines_themselves(root: Path) -> None:
    made = copy(root, "v1", all_of(root))
    assert all_of(folder_of(root, "v1")) == made
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in all_of(root)]
    assert names(root) == ["v1"]


def test_named_baselines_are_not_among_those_without_a_name(root: Path) -> None:
    before = all_of(root)
    copy(root, "v1", before)
    assert all_of(root) == before
    assert folder_of(root, "") == root


def test_a_name_stands_for_one_state(root: Path) -> None:
    copy(root, "v1", all_of(root))
    copy(root, "v1", all_of(root))  # the same files
    Baselines(root).save(baseline(versions={"tensorrt": "99"}))
    with pytest.raises(UsageError, match=r"is there already and differs from .*: choose another name"):
        copy(root, "v1", all_of(root))


def test_the_anchor_is_a_line_in_a_file(root: Path) -> None:
    assert anchor(root) == ""
    copy(root, "v1", all_of(root))
    move_anchor(root, "v1")
    assert (root / "anchor").read_text() == "v1\n"
    assert anchor(root) == "v1"


def test_an_anchor_needs_baselines(root: Path) -> None:
    with pytest.raises(UsageError, match=r"are named 'v1': there are no named ones yet; save some with --accel-save-b"):
        move_anchor(root, "v1")
    copy(root, "v0", all_of(root))
    with pytest.raises(UsageError, match="are named 'v1': there are v0"):
        require(root, "v1")


@pytest.mark.parametrize("content", [b"", b"v2\n", b"v1\nv2\n", b"\xff\n", b"../v1\n"])
def test_a_file_that_names_no_baselines_is_told_with_what_to_do(root: Path, content: bytes) -> None:
    copy(root, "v1", all_of(root))
    (root / "anchor").write_bytes(content)
    with pytest.raises(BaselineError, match=r"/anchor.*choose an anchor with pytest-accel baseline anchor NAME"):
        anchor(root)


def test_a_folder_in_the_place_of_the_file_is_told(root: Path) -> None:
    (root / "anchor").mkdir()
    with pytest.raises(BaselineError, match="/anchor cannot be read"):
        anchor(root)
