"""``pytest-accel report`` makes one report of the runs of several machines."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_accel.commands.console import DONE, TROUBLE, tell_faults


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    records = "records that --accel-report=RUN.json has written, one of each machine"
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN.json", help=records)
    output = "a page with plots (.html), Markdown (.md), or any other report that --accel-report writes but a record"
    command.add_argument("-o", "--output", type=Path, required=True, metavar="PATH", help=output)
    baselines = "the folder of baselines whose history a page draws, of what these runs have measured"
    command.add_argument("--baseline-dir", type=Path, default=Path("baselines"), metavar="DIR", help=baselines)
    command.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_accel.report.record import read_record
    from pytest_accel.report.write import OF_SEVERAL_RUNS, require_format, write
    from pytest_accel.store.history import History

    require_format(arguments.output, OF_SEVERAL_RUNS)
    runs = [read_record(path) for path in dict.fromkeys(arguments.runs)]
    known = History(arguments.baseline_dir).read()
    write(runs, arguments.output, known.entries)
    checks = sum(len(run.tests) for run in runs)
    print(f"{arguments.output}: {len(runs)} run{'s' if len(runs) > 1 else ''}, {checks} checks")
    return TROUBLE if tell_faults(known.faults) else DONE
