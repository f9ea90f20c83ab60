"""``pytest-accel cache`` lists the compile cache and evicts entries from it."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.commands.console import DONE, add_json, at_least_zero, print_json, print_table

if TYPE_CHECKING:
    from pytest_accel.store.cache import Cache

#: _NO_LIMIT_MB turns off the limit that guards builds, in MB; this command builds nothing and gives its own limit.
_NO_LIMIT_MB = float("inf")


def add(area: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    commands = area.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="entries, the least recently used first")
    add_json(listing)
    prune = commands.add_parser("prune", help="evict the least recently used entries until the rest fits")
    prune.add_argument("--limit", type=at_least_zero, required=True, metavar="MB", help="what may stay")
    clear = commands.add_parser("clear", help="evict every entry that is not in use")
    clear.set_defaults(limit=0.0)
    for command, function in ((listing, _list), (prune, _prune), (clear, _prune)):
        command.set_defaults(command=function)
        command.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: the user's cache folder")


def _cache(arguments: argparse.Namespace) -> Cache:
    from pytest_accel.store.cache import Cache, default_root

    return Cache(arguments.cache_dir or default_root(), _NO_LIMIT_MB)


def _list(arguments: argparse.Namespace) -> int:
    cache = _cache(arguments)
    entries = cache.entries()
    if arguments.json:
        print_json(entries)
        return DONE
    rows = [
        (entry.key, f"{entry.size_mb:.1f}", _moment(entry.last_used), "in use" if entry.in_use else "", entry.label)
        for entry in entries
    ]
    if rows:
        print_table(("key", "MB", "last used", "", "what"), rows)
    print(f"{len(rows)} entries, {sum(entry.size_mb for entry in entries):.1f} MB in {cache.root}")
    return DONE


def _prune(arguments: argparse.Namespace) -> int:
    cache = _cache(arguments)
    evicted = cache.prune(arguments.limit)
    for entry in evicted:
        print(f"removed {entry.key} ({entry.size_mb:.1f} MB, {entry.label})")
    left = cache.entries()
    in_use = sum(entry.in_use for entry in left)
    print(f"{len(left)} entries, {sum(entry.size_mb for entry in left):.1f} MB are left, {in_use} of them in use")
    return DONE


def _moment(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):  # a clock was far off when the file was written
        return "?"
