"""The ``pytest-accel`` command shows and tidies what is stored, plans CI jobs, reports, bisects, and accepts hardware.

The exit status is 0 for success and 2 for a wrong call or a file that cannot be used. It is 1 for a `diff` with
differences, a `show` or `history` of nothing, a `baseline accept` that leaves something out, a `matrix` without jobs,
an `advise` that can advise nothing, a `bisect` that ends with several commits, and an `accept` with a check that failed
or an accelerator that is absent. Each command imports the modules that it needs when it runs, so that the others start
quickly.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from pytest_accel import __version__
from pytest_accel.commands import accept, advise, baseline, bisect, cache, devices, history, matrix, report
from pytest_accel.commands.console import INTERRUPTED, TROUBLE
from pytest_accel.facts.errors import AccelError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; ``argv`` is the command line without the program."""
    words = list(sys.argv[1:] if argv is None else argv)
    own, for_pytest = bisect.split(words) if words[:1] == ["bisect"] else (words, [])
    arguments = _parser().parse_args(own)
    arguments.selection = for_pytest
    command: Callable[[argparse.Namespace], int] = arguments.command
    _escape_what_is_no_text()
    try:
        return command(arguments)
    except BrokenPipeError:  # `pytest-accel ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TROUBLE
    except (AccelError, OSError) as error:
        print(f"pytest-accel: {error}", file=sys.stderr)
        return TROUBLE
    except KeyboardInterrupt:
        return INTERRUPTED


def _escape_what_is_no_text() -> None:
    """Let names of files be printed that are no UTF-8, or that a terminal cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pytest-accel", description="Look at and tidy what pytest-accel keeps.")
    parser.add_argument("--version", action="version", version=f"pytest-accel {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    baseline.add(commands.add_parser("baseline", help="stored baselines: show, diff, prune, accept, copy, anchor"))
    history.add(commands.add_parser("history", help="what runs with --accel-history have measured, over time"))
    cache.add(commands.add_parser("cache", help="the compile cache: list, prune, clear"))
    bisect.add(commands.add_parser("bisect", help="the commit that made a model slower, wrong or refused"))
    advise.add(commands.add_parser("advise", help="the cheapest accelerator that passes, by the records of your runs"))
    report.add(commands.add_parser("report", help="one report of the runs of several machines"))
    accept.add(commands.add_parser("accept", help="all checks of an accelerator, on the machine that has its hardware"))
    matrix.add(commands.add_parser("matrix", help="the CI jobs that the tests' markers ask for, as JSON"))
    devices.add(
        commands.add_parser("devices", help="the known accelerators, and why those that cannot be used here cannot")
    )
    return parser
