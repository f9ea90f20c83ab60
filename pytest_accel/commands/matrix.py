"""``pytest-accel matrix`` plans the CI jobs that a project's markers ask for, each on a runner with the accelerator."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

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

    include = jobs(count_variants(arguments.pytest_args), dict(arguments.runner))
    print(msgspec.json.encode({"include": include}).decode())  # $GITHUB_OUTPUT takes one line
    if not include:
        print("pytest-accel: no test is marked accelerator, so there is no job to start", file=sys.stderr)
    return DONE if include else FOUND


@dataclass(frozen=True)
class Job:
    """A CI job has an accelerator, the labels of a runner for it, and the number of tests to run there."""

    accelerator: str
    runner: tuple[str, ...]
    tests: int


def jobs(variants: Mapping[str, int], runners: Mapping[str, tuple[str, ...]]) -> list[Job]:
    """Plan a job for each accelerator. Its runner has the given labels, or the accelerator's name as a label."""
    for name in runners:
        if name not in variants:
            wanted = ", ".join(sorted(variants)) or "none at all"
            raise UsageError(
                f"--runner {name}: no test asks for this accelerator{nearest(name, variants)} They ask for: {wanted}"
            )
    return [Job(name, runners.get(name, ("self-hosted", name)), variants[name]) for name in sorted(variants)]


def count_variants(pytest_args: Sequence[str]) -> dict[str, int]:
    """Count the variants of each accelerator among the tests that ``pytest`` with these arguments would run."""
    from pytest_accel.store.scratch import Scratch

    with closing(Scratch()) as scratch:
        file = scratch.path / "marked.json"
        options = ["-p", "pytest_accel.plugin.count_variants", f"--accel-marked-to={file}", "--collect-only", "-q"]
        command = [sys.executable, "-m", "pytest", *options, *pytest_args]
        collected = subprocess.run(command, capture_output=True, text=True, check=False)
        if collected.returncode not in (0, 5) or not file.exists():  # 5: there is nothing to collect
            output = (collected.stdout + collected.stderr).strip()
            raise UsageError(f"the tests cannot be collected, so no job can be planned:\n{output}")
        import msgspec

        return msgspec.json.decode(file.read_bytes(), type=dict[str, int])
