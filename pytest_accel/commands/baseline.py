"""``pytest-accel baseline`` lists stored baselines, shows how two differ, and removes some.

What accepts a change is in `baseline_accept`, and what names baselines in `baseline_names`.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.commands import baseline_accept, baseline_names
from pytest_accel.commands.console import DONE, FOUND, add_json, at_least_zero, number, print_json, print_table
from pytest_accel.facts.errors import UsageError

if TYPE_CHECKING:
    from pytest_accel.store.baseline import AnyBaseline, Baseline, CompiledBaseline


def add(area: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    commands = area.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="list baselines")
    show.add_argument("words", nargs="*", metavar="WORD", help="only those with all these words in their path")
    diff = commands.add_parser("diff", help="what differs between two files, or between the same files of two folders")
    diff.add_argument("before", type=Path)
    diff.add_argument("after", type=Path)
    prune = commands.add_parser("prune", help="remove the baselines that all given conditions fit")
    for name in ("fingerprint", "model", "variant"):
        prune.add_argument(f"--{name}", metavar="NAME", help=f"of this {name}, as `show` lists it")
    prune.add_argument("--older-than", type=at_least_zero, metavar="DAYS", help="saved more than so many days ago")
    prune.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")
    for command, function in ((show, _show), (diff, _diff), (prune, _prune)):
        command.set_defaults(command=function)
    for command in (show, prune):
        command.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR")
        command.add_argument("--name", default="", metavar="NAME", help="those that are kept under this name")
    baseline_accept.add(commands.add_parser("accept", help="make what a run has measured the baseline, with a reason"))
    baseline_names.add_copy(commands.add_parser("copy", help="keep the stored baselines under a name too"))
    baseline_names.add_anchor(commands.add_parser("anchor", help="tell or choose the anchor that creep is judged by"))
    for command in (show, diff):
        add_json(command)


def _show(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.baseline import Baseline, CompiledBaseline
    from pytest_accel.store.baselines import read

    root = _root(arguments)
    paths = [path for path in _paths(root) if all(word in str(path) for word in arguments.words)]
    baselines = [read(path) for path in paths]
    measured = [_baseline_row(found) for found in baselines if isinstance(found, Baseline)]
    compiled = [_compiled_row(found) for found in baselines if isinstance(found, CompiledBaseline)]
    if arguments.json:
        print_json(baselines)
        return DONE if baselines else FOUND
    if measured:
        heads = (
            "fingerprint",
            "model",
            "variant",
            "p50 ms",
            "p99 ms",
            "items/s",
            "top-1",
            "launches",
            "saved",
            "commit",
        )
        print_table(heads, measured)
    if compiled:
        print("compiled and not run")
        made = ("compile s", "size MB", "predicted top-1")
        print_table(("compiled for", "model", "variant", *made, "saved", "commit"), compiled)
    if not baselines:
        print(f"no baseline in {root}{' has ' if arguments.words else ''}{' and '.join(arguments.words)}")
    return DONE if baselines else FOUND


def _root(arguments: argparse.Namespace) -> Path:
    """Return the folder of the baselines, or of those of a name."""
    from pytest_accel.store.named_baselines import folder_of, require

    root: Path = arguments.baseline_dir
    if arguments.name:
        require(root, arguments.name)
    return folder_of(root, arguments.name)


def _paths(root: Path) -> list[Path]:
    """List the baselines of both kinds, the measured ones first."""
    from pytest_accel.store.baselines import Baselines, CompiledBaselines

    return [*Baselines(root).paths(), *CompiledBaselines(root).paths()]


def _baseline_row(baseline: Baseline) -> tuple[str, ...]:
    top1 = baseline.accuracy.top1 if baseline.accuracy else None
    return (
        baseline.hardware.fingerprint,
        baseline.model,
        baseline.variant.id,
        number(baseline.median("p50_ms")),
        number(baseline.median("p99_ms")),
        number(baseline.median("throughput")),
        number(top1),
        str(len(baseline.launches)),
        baseline.saved,
        str(baseline.provenance) or "-",
    )


def _compiled_row(baseline: CompiledBaseline) -> tuple[str, ...]:
    return (
        baseline.compiled_for,
        baseline.model,
        baseline.variant.id,
        number(baseline.artefact.compile_s),
        number(baseline.artefact.size_mb),
        number(baseline.prediction.top1 if baseline.prediction else None),
        baseline.saved,
        str(baseline.provenance) or "-",
    )


def _diff(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.baselines import read
    from pytest_accel.store.changes import diff

    before, after = arguments.before, arguments.after
    differences = {}
    for name in _compared_names(before, after):
        sides = before / name, after / name
        if all(side.exists() for side in sides):
            changes = diff(read(sides[0]), read(sides[1]))
            differences[name] = [{"fact": str(change), "change": change} for change in changes]
        else:
            differences[name] = [{"fact": f"only in {next(side for side in sides if side.exists())}", "change": None}]
    differences = {name: facts for name, facts in differences.items() if facts}
    if arguments.json:
        print_json(differences)
    for name, facts in differences.items() if not arguments.json else ():
        indent = "  " if name else ""
        if name:
            print(name)
        for line in facts:
            print(f"{indent}{line['fact']}")
    return FOUND if differences else DONE


def _compared_names(before: Path, after: Path) -> list[str]:
    """Name the baselines to compare: by their paths in both folders, or by one empty name for two files."""
    for side in (before, after):
        if not side.exists():
            raise UsageError(f"there is no file or folder {side}")
    if before.is_dir() != after.is_dir():
        raise UsageError(f"{before} and {after}: give two files or two folders")
    if before.is_file():
        return [""]
    return sorted({path.relative_to(side).as_posix() for side in (before, after) for path in side.rglob("*.json")})


def _prune(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.baselines import Baselines, CompiledBaselines

    conditions = (arguments.fingerprint, arguments.model, arguments.variant, arguments.older_than)
    if all(condition is None for condition in conditions):
        raise UsageError("say which baselines to remove: --fingerprint, --model, --variant or --older-than")
    root = _root(arguments)
    baselines = Baselines(root)
    kept: list[tuple[Path, AnyBaseline]] = [*baselines.iterate(), *CompiledBaselines(root).iterate()]
    doomed = [path for path, found in kept if _fits(found, arguments)]
    for path in doomed:
        if arguments.yes:
            baselines.remove(path)
        print(f"{'removed' if arguments.yes else 'would remove'} {path}")
    if not doomed:
        print("no baseline fits")
    elif not arguments.yes:
        print("nothing is removed yet: add --yes")
    return DONE


def _fits(baseline: AnyBaseline, arguments: argparse.Namespace) -> bool:
    names = (
        (arguments.fingerprint, baseline.kept_for),
        (arguments.model, baseline.model),
        (arguments.variant, baseline.variant.id),
    )
    if any(wanted not in (None, name) for wanted, name in names):
        return False
    if arguments.older_than is None:
        return True
    today = datetime.datetime.now().date()
    days = min(arguments.older_than, (today - datetime.date.min).days)
    oldest_kept = today - datetime.timedelta(days=days)
    return baseline.saved < oldest_kept.isoformat()
