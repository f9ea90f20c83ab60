"""``pytest-accel history`` shows how each variant got slower or faster over time, and joins histories that CI kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_accel.commands.console import DONE, FOUND, TROUBLE, add_json, number, print_json, print_table, tell_faults
from pytest_accel.facts.errors import UsageError

if TYPE_CHECKING:
    from pytest_accel.report.history_series import Series
    from pytest_accel.store.history_entry import Bounds

#: HEADS are the headings of the table.
HEADS = ("model", "variant", "fingerprint", "runs", "trend", "of", "level", "first p50 ms", "last p50 ms")


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    words = "only these models; or `merge` and the folders and files of other histories, to add them to this one"
    command.add_argument("words", nargs="*", metavar="MODEL", help=words)
    command.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR")
    into = "with merge: the folder of baselines whose history gets the others; default: that of --baseline-dir"
    command.add_argument("--into", type=Path, metavar="DIR", help=into)
    add_json(command)
    command.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.words[:1] == ["merge"]:
        return _merge([Path(word) for word in arguments.words[1:]], arguments.into or arguments.baseline_dir)
    if arguments.into is not None:
        raise UsageError("--into is for merge: pytest-accel history merge DIR --into baselines")
    return _show(arguments)


def _show(arguments: argparse.Namespace) -> int:
    from pytest_accel.report.history_series import series_of
    from pytest_accel.store.history import History

    history = History(arguments.baseline_dir)
    known = history.read()
    wanted = [entry for entry in known.entries if not arguments.words or entry.model in arguments.words]
    found = list(series_of(wanted))
    if arguments.json:
        print_json(list(map(_plain, found)))
    elif found:
        _print(found)
    else:
        print(f"no run in {history.root}{' has measured ' if arguments.words else ''}{' or '.join(arguments.words)}")
    if tell_faults(known.faults):
        return TROUBLE
    return DONE if found else FOUND


def _print(found: Sequence[Series]) -> None:
    print_table(HEADS, map(_row, found))
    for series in found:
        for change in series.changes:
            print(f"{series.name} on {series.entries[0].fingerprint}: {change}")


def _row(series: Series) -> tuple[str, ...]:
    from pytest_accel.report.sparkline import sparkline

    first, last = series.entries[0], series.entries[-1]
    return (
        first.model,
        first.variant,
        first.fingerprint,
        str(len(series.entries)),
        sparkline([point.value for point in series.points], sys.stdout.encoding),
        series.measure,
        f"×{series.points[-1].value:.3f}" if series.measure == "ratio" else "-",
        _bounded(first.p50_ms),
        _bounded(last.p50_ms),
    )


def _bounded(bounds: Bounds) -> str:
    return f"{number(bounds.estimate)} [{number(bounds.lower)}, {number(bounds.upper)}]"


def _plain(series: Series) -> dict[str, Any]:
    """Describe a series as ``--json`` prints it."""
    first = series.entries[0]
    return {
        "model": first.model,
        "variant": first.variant,
        "fingerprint": first.fingerprint,
        "measure": series.measure,
        "runs": series.entries,
        "points": [
            {"run": series.entries.index(entry), "value": value, "lower": lower, "upper": upper}
            for entry, value, lower, upper in series.points
        ],
        "changes": [{"point": change.at, "factor": change.factor, "fact": str(change)} for change in series.changes],
    }


def _merge(sources: Sequence[Path], into: Path) -> int:
    from pytest_accel.store.history import History, files_of, read

    if not sources:
        raise UsageError("merge needs histories: pytest-accel history merge DIR --into baselines")
    history = History(into)
    known = [read([file]) for file in files_of(sources)]
    added = [path for path in (history.add(each.entries) for each in known if each.entries) if path is not None]
    print(f"{len(added)} of {len(known)} runs added to {history.root}; the others were there already")
    return TROUBLE if tell_faults(fault for each in known for fault in each.faults) else DONE
