"""``pytest-accel devices`` lists the known accelerators and says why some cannot be used on this machine."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pytest_accel.commands.console import DONE, add_json, print_json

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Missing


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_json(command)
    command.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pytest_accel.inputs.registry import Registry
    from pytest_accel.report.devices import table

    registry = Registry.discover()
    survey = {name: registry.find(name).probe_hardware() for name in registry.names}
    if arguments.json:
        print_json([_entry(name, missing) for name, missing in survey.items()])
        return DONE
    print(*table(survey), sep="\n")
    print("Devices only; `pytest --accel-list` starts a worker for each and asks its SDK, too.")
    return DONE


def _entry(name: str, missing: Missing | None) -> dict[str, str]:
    """Describe the accelerator as ``--json`` prints it."""
    if missing is None:
        return {"accelerator": name, "here": "possible", "why": ""}
    return {"accelerator": name, "here": missing.kind, "why": f"{missing.reason}; {missing.action}"}
