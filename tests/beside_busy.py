"""Finds tests that fail by noise: runs a selection of them again and again beside processes that are always busy.

    python -m tests.beside_busy [--runs 10] [--processes 3] -- tests/unit/worker/timing/test_threads.py -n 2

What comes after ``--`` goes to pytest as it is. The output of a run that failed is kept in a file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.gate.burners import busy


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell one line for each run; the exit status is 1 when any of them failed."""
    chosen = _parser().parse_args(arguments)
    failed: list[int] = []
    with busy(chosen.processes, rests=False):
        for number in range(1, chosen.runs + 1):
            began_s = time.monotonic()
            run = subprocess.run(
                [sys.executable, "-m", "pytest", *chosen.pytest_arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            duration_s = time.monotonic() - began_s
            outcome = _last_line(run.stdout)
            if run.returncode:
                failed.append(number)
                outcome = f"FAILED with status {run.returncode}, {outcome}, all in {_kept(run.stdout, number)}"
            print(f"run {number} of {chosen.runs}: {duration_s:.1f} s, {outcome}", flush=True)
    runs = ", ".join(map(str, failed)) or "none"
    print(f"failed runs: {runs}", flush=True)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.beside_busy", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="how often to run the tests (default: 10)")
    parser.add_argument("--processes", type=int, default=3, help="how many processes are busy (default: 3)")
    parser.add_argument("pytest_arguments", nargs="*", help="what to run, after --")
    return parser


def _last_line(output: bytes) -> str:
    return "".join(output.decode(errors="replace").rstrip().splitlines()[-1:]).strip(" =")


def _kept(output: bytes, number: int) -> Path:
    with tempfile.NamedTemporaryFile(prefix=f"beside-busy-run-{number}-", suffix=".txt", delete=False) as file:
        file.write(output)
    return Path(file.name)


if __name__ == "__main__":
    sys.exit(main())
