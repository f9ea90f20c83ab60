"""``pytest-accel devices``: the known accelerators and what speaks against each on this machine."""

from __future__ import annotations

import argparse

from pytest_accel.commands.console import DONE, add_json, print_json, print_table


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_json(command)
    command.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
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
        print_json([dict(zip(heads, row, strict=True)) for row in rows])
        return DONE
    print_table(heads, rows)
    print("Devices only; `pytest --accel-list` starts a worker for each and asks its SDK, too.")
    return DONE
