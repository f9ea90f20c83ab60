"""The matrix of CI jobs that a project's markers ask for: one job for each accelerator, on a runner that has it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pytest_accel.facts.errors import UsageError
from pytest_accel.inputs.registry import nearest


class Job(msgspec.Struct, frozen=True):
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
        return msgspec.json.decode(file.read_bytes(), type=dict[str, int])
