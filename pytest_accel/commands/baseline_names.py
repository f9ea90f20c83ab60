"""``pytest-accel baseline copy`` gives baselines a name, and ``baseline anchor`` tells or chooses the anchor."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pytest_accel.commands.console import DONE, FOUND
from pytest_accel.facts.errors import UsageError


def add_copy(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``copy``."""
    command.add_argument("name", metavar="NAME", help="the name, for example that of a release")
    command.add_argument("words", nargs="*", metavar="WORD", help="only those with all these words in their path")
    _finish(command, _copy)


def add_anchor(command: argparse.ArgumentParser) -> None:
    """Add the arguments of ``anchor``."""
    command.add_argument(
        "name", nargs="?", metavar="NAME", help="the baselines to choose; without it the anchor is told"
    )
    _finish(command, _anchor)


def _finish(command: argparse.ArgumentParser, function: object) -> None:
    command.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR")
    command.set_defaults(command=function)


def _copy(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.baselines import Baselines, CompiledBaselines
    from pytest_accel.store.named_baselines import copy, is_name

    root: Path = arguments.baseline_dir
    if not is_name(arguments.name):
        raise UsageError(f"{arguments.name!r} cannot name baselines: use letters, digits, '_', '-' and '.'")
    stored = [*Baselines(root).paths(), *CompiledBaselines(root).paths()]
    chosen = [path for path in stored if all(word in str(path) for word in arguments.words)]
    _print_each("copied to", copy(root, arguments.name, chosen))
    if not chosen:
        print(f"no baseline in {root}{' has ' if arguments.words else ''}{' and '.join(arguments.words)}")
    return DONE if chosen else FOUND


def _print_each(done: str, paths: Sequence[Path]) -> None:
    for path in paths:
        print(f"{done} {path}")


def _anchor(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.named_baselines import anchor, move_anchor, names

    root: Path = arguments.baseline_dir
    if arguments.name is not None:
        move_anchor(root, arguments.name)
        print(f"the anchor is {arguments.name}, as {root / 'anchor'} says: max_creep is judged by it")
        return DONE
    name, others = anchor(root), ", ".join(names(root)) or "none yet"
    print(f"the anchor is {name}" if name else f"there is no anchor; named baselines: {others}")
    return DONE if name else FOUND
