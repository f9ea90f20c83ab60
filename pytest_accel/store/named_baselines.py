"""Named baselines, such as those of a release, and which of them are the anchor that slow creep is judged by.

``<root>/named/<name>/`` is a folder of baselines like ``<root>`` itself. The file ``<root>/anchor`` has one line with
the name of the anchor, so that a pull request shows that it moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pytest_accel.facts.errors import BaselineError, UsageError
from pytest_accel.facts.settings import SaveMode
from pytest_accel.store.files import PLAIN_NAME, read_regular, write_whole

_NAMED = "named"
_ANCHOR = "anchor"
_MOVE = "pytest-accel baseline anchor NAME"


def is_name(text: str) -> bool:
    """Return whether baselines can have this name. A word that says which baselines are written is none."""
    return bool(PLAIN_NAME.fullmatch(text)) and text not in get_args(SaveMode)


def folder_of(root: Path, name: str) -> Path:
    """Return the folder of the baselines of that name, which for an empty one are those in ``root`` itself."""
    return root / _NAMED / name if name else root


def names(root: Path) -> list[str]:
    """Return the names that there are baselines of, sorted."""
    folders = (folder for folder in (root / _NAMED).glob("*") if is_name(folder.name))
    return sorted(folder.name for folder in folders if any(folder.rglob("*.json")))


def require(root: Path, name: str) -> None:
    """Raise `UsageError` where there are no baselines of that name."""
    known = names(root)
    if name not in known:
        there_are = f"there are {', '.join(known)}" if known else "there are no named ones yet"
        raise UsageError(
            f"no baselines in {root} are named {name!r}: {there_are}; save some with --accel-save-baseline={name}, or "
            f"copy the stored ones with pytest-accel baseline copy {name}"
        )


def anchor(root: Path) -> str:
    """Return the name of the anchor, which is empty where there is none.

    Raises `BaselineError` for a file that names no baselines.
    """
    path = root / _ANCHOR
    try:
        lines = read_regular(path).decode("utf-8").splitlines()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path} cannot be read: {error}; restore it, or choose an anchor with {_MOVE}") from error
    if len(lines) != 1 or lines[0] not in names(root):
        known = ", ".join(names(root)) or "none"
        raise BaselineError(
            f"{path}:1: the anchor is the name of baselines in {root / _NAMED}, which has {known}; restore it from "
            f"version control, or choose an anchor with {_MOVE}"
        )
    return lines[0]


def move_anchor(root: Path, name: str) -> None:
    """Make the baselines of that name the anchor. Raises `UsageError` where there are none."""
    require(root, name)
    write_whole(root / _ANCHOR, f"{name}\n")


def copy(root: Path, name: str, paths: Sequence[Path]) -> list[Path]:
    """Copy baseline files, which lie below ``root``, under a name. Returns the new files.

    Raises `UsageError` where one of them is there already with other facts: a name stands for one state of the project.
    """
    copies = {path: folder_of(root, name) / path.relative_to(root) for path in paths}
    for path, target in copies.items():
        if target.exists() and target.read_bytes() != path.read_bytes():
            raise UsageError(
                f"{target} is there already and differs from {path}: choose another name, or remove it with "
                f"pytest-accel baseline prune --name {name}"
            )
    for path, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, path.read_text(encoding="utf-8"))
    return list(copies.values())
