"""Our side of a contest with a plain loop or a vendor's tool: a worker of our own, without pytest around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.process import Worker

if TYPE_CHECKING:
    from pytest_accel.facts.fact import Scalar
    from pytest_accel.worker.accelerator import Accelerator


@contextmanager
def launched(accelerator: type[Accelerator], logs: Path) -> Iterator[WorkerClient]:
    """A fresh worker, which ends with the block."""
    with Worker(accelerator.name, f"{accelerator.__module__}:{accelerator.__name__}", log_dir=logs) as worker:
        yield WorkerClient(worker, Deadlines(compile_s=600, run_s=600))


def defaults(accelerator: type[Accelerator]) -> dict[str, Scalar]:
    """Its options where a marker says nothing."""
    return {name: option.default for name, option in accelerator.options().items()}
