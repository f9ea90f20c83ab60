"""A child process and the CPU seconds it spends: unlike its wall time, other processes hardly change them."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a child ended. ``cpu_s`` counts its own children too, user and system time."""

    cpu_s: float
    status: int
    output: str


def run(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end; ``environ`` is added to this process's own. One at a time."""
    before_s = _children_cpu_s()
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environ or {})}, capture_output=True, text=True, check=False
    )
    return Ended(_children_cpu_s() - before_s, done.returncode, done.stdout + done.stderr)


def byte_code_in(folder: Path) -> dict[str, str]:
    """The environment in which a run finds the byte code that an earlier one wrote, as an installed package has it.

    This process may have been told not to write any.
    """
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "byte-code")}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
