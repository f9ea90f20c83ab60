"""``pytest-accel advise`` finds the cheapest accelerator that passes, in the records of any number of runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_accel.commands.console import DONE, FOUND, add_json, at_least_zero, print_json, print_table


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="a file that --accel-report wrote")
    command.add_argument(
        "--price",
        action="append",
        default=[],
        type=_price,
        metavar="TYPE=USD",
        help="dollars an hour of an instance type",
    )
    add_json(command)
    command.set_defaults(command=_run)


def _price(text: str) -> tuple[str, float]:
    name, _, price = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE=USD, for example g4dn.xlarge=0.526")
    return name, at_least_zero(price)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_accel.commands import advice_table
    from pytest_accel.commands.offers import offers
    from pytest_accel.commands.prices import with_own
    from pytest_accel.report.record import read_record

    found = offers(map(read_record, arguments.records), with_own(dict(arguments.price)))
    if arguments.json:
        print_json(found)
    for sentence, rows in advice_table.advice(found) if not arguments.json else ():
        print(sentence)
        print_table(advice_table.HEADS, rows)
    return DONE if any(offer.advisable for offer in found) else FOUND
