"""``pytest-accel matrix``: the CI jobs that a project's markers ask for, each on a runner that has the accelerator."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_accel.commands.console import DONE, FOUND
from pytest_accel.facts.errors import UsageError
from pytest_accel.inputs.registry import nearest


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
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
    command.set_defaults(command=_run)


def _runner(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, labels = text.partition("=")
    runner = tuple(label.strip() for label in labels.split(","))
    if not name or not all(runner):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=LABEL[,LABEL], for example gpu-trt=self-hosted,gpu")
    return name, runner


def _run(arguments: argparse.Namespace) -> int:
    import msgspec

    found = jobs(marked(arguments.pytest_args), dict(arguments.runner))
    print(msgspec.json.encode({"include": found}).decode())  # on one line, which is what $GITHUB_OUTPUT takes
    if not found:
        print("pytest-accel: no test is marked accelerator, so there is no job to start", file=sys.stderr)
    return DONE if found else FOUND


@dataclass(frozen=True)
class Job:
    """One job: ``--accelerator``, the labels of a runner for it, and how many tests it would run there."""

    accelerator: str
    runner: tuple[str, ...]
    tests: int


def jobs(variants: Mapping[str, int], runners: Mapping[str, tuple[str, ...]]) -> list[Job]:
    """A job for each accelerator, by name. Without labels of its own a runner is found by the accelerator's name."""
    for name in runners:
        if name not in variants:
            asked = ", ".join(sorted(variants)) or "none at all"
            raise UsageError(
                f"--runner {name}: no test asks for this accelerator{nearest(name, variants)} They ask for: {asked}"
            )
    return [Job(name, runners.get(name, ("self-hosted", name)), variants[name]) for name in sorted(variants)]


def marked(pytest_args: Sequence[str]) -> dict[str, int]:
    """How many variants each accelerator has among the tests that ``pytest`` with these arguments would run."""
    with tempfile.TemporaryDirectory(prefix="pytest-accel-") as folder:
        file = Path(folder) / "marked.json"
        ours = ["-p", "pytest_accel.plugin.count_variants", f"--accel-marked-to={file}", "--collect-only", "-q"]
        command = [sys.executable, "-m", "pytest", *ours, *pytest_args]
        collected = subprocess.run(command, capture_output=True, text=True, check=False)
        if collected.returncode not in (0, 5) or not file.exists():  # 5: there is nothing to collect
            said = (collected.stdout + collected.stderr).strip()
            raise UsageError(f"the tests cannot be collected, so no job can be planned:\n{said}")
        import msgspec

        return msgspec.json.decode(file.read_bytes(), type=dict[str, int])
