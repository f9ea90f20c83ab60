"""The ``pytest-accel`` command: look at and tidy what the plugin keeps, plan CI jobs, make one report of several runs.

Exit status: 0 done, 1 for a `diff` that found differences, a `show` that found nothing or a `matrix` without a job, 2
for a wrong call or a file that cannot be used. Each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_accel import __version__
from pytest_accel.facts.errors import AccelError, UsageError

if TYPE_CHECKING:
    from pytest_accel.store.baselines import Baseline
    from pytest_accel.store.cache import Cache

DONE, FOUND, TROUBLE = 0, 1, 2
#: Pruning by hand gives its own limit; this one only guards builds, which the command never makes.
_NO_LIMIT_MB = float("inf")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``argv`` is the command line without the program."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except AccelError as error:
        print(f"pytest-accel: {error}", file=sys.stderr)
        return TROUBLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pytest-accel", description="Look at and tidy what pytest-accel keeps.")
    parser.add_argument("--version", action="version", version=f"pytest-accel {__version__}")
    areas = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_baseline(areas.add_parser("baseline", help="stored baselines: show, diff, prune"))
    _add_cache(areas.add_parser("cache", help="the compile cache: list, prune, clear"))
    _add_advise(areas.add_parser("advise", help="the cheapest accelerator that passes, by the records of your runs"))
    _add_report(areas.add_parser("report", help="one report of the runs of several machines"))
    _add_matrix(areas.add_parser("matrix", help="the CI jobs that the tests' markers ask for, as JSON"))
    devices = areas.add_parser("devices", help="the known accelerators and what speaks against each on this machine")
    _add_json(devices)
    devices.set_defaults(command=_devices)
    return parser


def _add_baseline(area: argparse.ArgumentParser) -> None:
    commands = area.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser("show", help="list baselines")
    show.add_argument("words", nargs="*", metavar="WORD", help="only those with all these words in their path")
    diff = commands.add_parser("diff", help="what differs between two files, or between the same files of two folders")
    diff.add_argument("before", type=Path)
    diff.add_argument("now", type=Path)
    prune = commands.add_parser("prune", help="remove the baselines that all given conditions fit")
    for name in ("fingerprint", "model", "variant"):
        prune.add_argument(f"--{name}", metavar="NAME", help=f"of this {name}, as `show` lists it")
    prune.add_argument("--older-than", type=_at_least_zero, metavar="DAYS", help="saved more than so many days ago")
    prune.add_argument("--yes", action="store_true", help="remove them; without it they are only listed")
    for command, function in ((show, _show), (diff, _diff), (prune, _prune_baselines)):
        command.set_defaults(command=function)
    for command in (show, prune):
        command.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR")
    for command in (show, diff):
        _add_json(command)


def _add_cache(area: argparse.ArgumentParser) -> None:
    commands = area.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="entries, the least recently used first")
    _add_json(listing)
    prune = commands.add_parser("prune", help="evict the least recently used entries until the rest fits")
    prune.add_argument("--limit", type=_at_least_zero, required=True, metavar="MB", help="what may stay")
    clear = commands.add_parser("clear", help="evict every entry that is not in use")
    clear.set_defaults(limit=0.0)
    for command, function in ((listing, _list_cache), (prune, _prune_cache), (clear, _prune_cache)):
        command.set_defaults(command=function)
        command.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: the user's cache folder")


def _add_advise(command: argparse.ArgumentParser) -> None:
    command.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="a file that --accel-report wrote")
    command.add_argument(
        "--price",
        action="append",
        default=[],
        type=_price,
        metavar="TYPE=USD",
        help="dollars an hour of an instance type",
    )
    _add_json(command)
    command.set_defaults(command=_advise)


def _price(text: str) -> tuple[str, float]:
    name, _, price = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE=USD, for example g4dn.xlarge=0.526")
    return name, _at_least_zero(price)


def _add_report(command: argparse.ArgumentParser) -> None:
    records = "records that --accel-report=RUN.json has written, one of each machine"
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN.json", help=records)
    output = "a page with plots (.html) or Markdown (.md)"
    command.add_argument("-o", "--output", type=Path, required=True, metavar="PATH", help=output)
    command.set_defaults(command=_report)


def _add_matrix(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--runner",
        action="append",
        default=[],
        type=_runner,
        metavar="NAME=LABEL[,LABEL]",
        help="labels of the machine that has an accelerator; default: self-hosted,NAME; repeatable",
    )
    which = "of which tests, as pytest takes it: paths and, after --, options"
    command.add_argument("pytest_args", nargs="*", metavar="PYTEST_ARG", help=which)
    command.set_defaults(command=_matrix)


def _runner(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, labels = text.partition("=")
    runner = tuple(label.strip() for label in labels.split(","))
    if not name or not all(runner):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=LABEL[,LABEL], for example gpu-trt=self-hosted,gpu")
    return name, runner


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _at_least_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return number


def _show(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.baselines import Baselines, read

    root: Path = arguments.baseline_dir
    paths = [path for path in Baselines(root).paths() if all(word in str(path) for word in arguments.words)]
    baselines = [read(path) for path in paths]
    if arguments.json:
        _print_json(baselines)
    elif baselines:
        heads = ("fingerprint", "model", "variant", "p50 ms", "p99 ms", "items/s", "top-1", "launches", "saved")
        _print_table(heads, map(_baseline_row, baselines))
    else:
        print(f"no baseline in {root}{' has ' if arguments.words else ''}{' and '.join(arguments.words)}")
    return DONE if baselines else FOUND


def _baseline_row(baseline: Baseline) -> tuple[str, ...]:
    top1 = baseline.accuracy.top1 if baseline.accuracy else None
    numbers = [baseline.median("p50_ms"), baseline.median("p99_ms"), baseline.median("throughput"), top1]
    return (
        *(baseline.hardware.fingerprint, baseline.model, baseline.variant.id),
        *("-" if number is None else f"{number:.4g}" for number in numbers),
        *(str(len(baseline.launches)), baseline.saved),
    )


def _diff(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.baselines import read
    from pytest_accel.store.changes import diff

    before, now = arguments.before, arguments.now
    found = {}
    for name in _compared_names(before, now):
        sides = before / name, now / name
        if all(side.exists() for side in sides):
            found[name] = [{"fact": str(change), "change": change} for change in diff(read(sides[0]), read(sides[1]))]
        else:
            found[name] = [{"fact": f"only in {next(side for side in sides if side.exists())}", "change": None}]
    found = {name: facts for name, facts in found.items() if facts}
    if arguments.json:
        _print_json(found)
    for name, facts in found.items() if not arguments.json else ():
        indent = "  " if name else ""
        print(*filter(None, [name, *(f"{indent}{line['fact']}" for line in facts)]), sep="\n")
    return FOUND if found else DONE


def _compared_names(before: Path, now: Path) -> list[str]:
    """The baselines of two folders by their paths inside; of two files the one name that is empty."""
    for side in (before, now):
        if not side.exists():
            raise UsageError(f"there is no file or folder {side}")
    if before.is_dir() != now.is_dir():
        raise UsageError(f"{before} and {now}: give two files or two folders")
    if before.is_file():
        return [""]
    return sorted({path.relative_to(side).as_posix() for side in (before, now) for path in side.rglob("*.json")})


def _prune_baselines(arguments: argparse.Namespace) -> int:
    from pytest_accel.store.baselines import Baselines

    conditions = (arguments.fingerprint, arguments.model, arguments.variant, arguments.older_than)
    if all(condition is None for condition in conditions):
        raise UsageError("say which baselines to remove: --fingerprint, --model, --variant or --older-than")
    baselines = Baselines(arguments.baseline_dir)
    doomed = [path for path, found in baselines.iterate() if _fits(found, arguments)]
    for path in doomed:
        if arguments.yes:
            baselines.remove(path)
        print(f"{'removed' if arguments.yes else 'would remove'} {path}")
    if not doomed:
        print("no baseline fits")
    elif not arguments.yes:
        print("nothing is removed yet: add --yes")
    return DONE


def _fits(baseline: Baseline, arguments: argparse.Namespace) -> bool:
    names = (
        (arguments.fingerprint, baseline.hardware.fingerprint),
        (arguments.model, baseline.model),
        (arguments.variant, baseline.variant.id),
    )
    if any(wanted not in (None, name) for wanted, name in names):
        return False
    if arguments.older_than is None:
        return True
    oldest_kept = datetime.datetime.now().date() - datetime.timedelta(days=arguments.older_than)
    return baseline.saved < oldest_kept.isoformat()


def _cache(arguments: argparse.Namespace) -> Cache:
    from pytest_accel.store.cache import Cache, default_root

    return Cache(arguments.cache_dir or default_root(), _NO_LIMIT_MB)


def _list_cache(arguments: argparse.Namespace) -> int:
    cache = _cache(arguments)
    entries = cache.entries()
    if arguments.json:
        _print_json(entries)
        return DONE
    rows = [
        (entry.key, f"{entry.size_mb:.1f}", _moment(entry.last_used), "in use" if entry.in_use else "", entry.label)
        for entry in entries
    ]
    if rows:
        _print_table(("key", "MB", "last used", "", "what"), rows)
    print(f"{len(rows)} entries, {sum(entry.size_mb for entry in entries):.1f} MB in {cache.root}")
    return DONE


def _prune_cache(arguments: argparse.Namespace) -> int:
    cache = _cache(arguments)
    evicted = cache.prune(arguments.limit)
    for entry in evicted:
        print(f"removed {entry.key} ({entry.size_mb:.1f} MB, {entry.label})")
    left = cache.entries()
    in_use = sum(entry.in_use for entry in left)
    print(f"{len(left)} entries, {sum(entry.size_mb for entry in left):.1f} MB are left, {in_use} of them in use")
    return DONE


def _report(arguments: argparse.Namespace) -> int:
    from pytest_accel.report.record import read_record
    from pytest_accel.report.write import require_format, write

    require_format(arguments.output, (".html", ".md"))
    runs = [read_record(path) for path in dict.fromkeys(arguments.runs)]
    write(runs, arguments.output)
    checks = sum(len(run.tests) for run in runs)
    print(f"{arguments.output}: {len(runs)} run{'s' if len(runs) > 1 else ''}, {checks} checks")
    return DONE


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _devices(arguments: argparse.Namespace) -> int:
    from pytest_accel.inputs.registry import Registry

    registry = Registry.discover()
    rows = []
    for name in registry.names:
        missing = registry.find(name).probe_hardware()
        rows.append(
            (name, "possible", "") if missing is None else (name, missing.kind, f"{missing.reason}; {missing.action}")
        )
    heads = ("accelerator", "here", "why")
    if arguments.json:
        _print_json([dict(zip(heads, row, strict=True)) for row in rows])
        return DONE
    _print_table(heads, rows)
    print("Devices only; `pytest --accel-list` starts a worker for each and asks its SDK, too.")
    return DONE


def _matrix(arguments: argparse.Namespace) -> int:
    import msgspec

    from pytest_accel.commands.matrix import jobs, marked

    found = jobs(marked(arguments.pytest_args), dict(arguments.runner))
    print(msgspec.json.encode({"include": found}).decode())  # on one line, which is what $GITHUB_OUTPUT takes
    if not found:
        print("pytest-accel: no test is marked accelerator, so there is no job to start", file=sys.stderr)
    return DONE if found else FOUND


def _advise(arguments: argparse.Namespace) -> int:
    from pytest_accel.commands import advice_table
    from pytest_accel.commands.advise import offers
    from pytest_accel.commands.prices import with_own
    from pytest_accel.report.record import read_record

    found = offers(map(read_record, arguments.records), with_own(dict(arguments.price)))
    if arguments.json:
        _print_json(found)
    for sentence, rows in advice_table.told(found) if not arguments.json else ():
        print(sentence)
        _print_table(advice_table.HEADS, rows)
    return DONE if any(offer.advisable for offer in found) else FOUND


def _print_json(data: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(data, order="sorted"), indent=2).decode())


def _print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, numbers to the right."""
    table = [tuple(heads), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    numeric = [all(_is_number(cell) for cell in column[1:]) for column in zip(*table, strict=True)]
    for row in table:
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        print("  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "-"
    return True
