"""One process that imports an SDK, from which workers are forked that share nothing else."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_accel.processes.fork_server import ForkServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_accel.worker.accelerator import Accelerator

_IMPORT_DEADLINE_S = 120.0


@contextmanager
def preloaded(accelerator: type[Accelerator], folder: Path) -> Iterator[ForkServer]:
    """Give a server that has called what an accelerator preloads, ended at the end of the block."""
    with pytest.MonkeyPatch.context() as patch:
        # OpenBLAS ends its threads before a fork and makes them again after it, so they are no loss.
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        server = ForkServer(sys.executable, accelerator.preload, folder)
        assert server.is_ready(lambda: None, _IMPORT_DEADLINE_S)
    try:
        yield server
    finally:
        server.close()


def has_imported(server: ForkServer, *modules: str) -> bool:
    """Whether what is forked has all of these modules, and the server no thread that a fork would lose."""
    code = f"import sys; print(set({modules!r}) <= set(sys.modules))"
    command = [*server.command(), "-u", "-c", ""]
    child = subprocess.run(command, input=repr(code) + "\n", capture_output=True, text=True, timeout=60, check=True)
    return child.stdout == "True\n" and psutil.Process(server.pid).num_threads() == 1
