"""Workers of the fake accelerator that one process of the suite forks, so that each of them starts in no time.

Saving a baseline takes ten workers. Each would start Python and import NumPy, a third of a second on a busy core, for a
model that simulates its times. Tests of crashes start their workers as users do.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_accel.processes.fork_server import ForkServer
from pytest_accel.processes.process import Worker
from pytest_accel.testing import FAKE
from pytest_accel.worker.accelerators.fake import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: _START_DEADLINE_S is the number of seconds that the server may take to import NumPy beside other work.
_START_DEADLINE_S = 120.0


class ServerElsewhere(NamedTuple):
    """A server that another process owns, of which a run needs nothing but the command of a worker."""

    words: list[str]

    def command(self) -> list[str]:
        """Return the command that stands for the interpreter."""
        return self.words


def fork_server(folder: Path) -> Iterator[ForkServer]:
    """Yield a server that has imported what a worker of the fake accelerator needs."""
    server = ForkServer(sys.executable, [f"{Script.__module__}:{Script.__name__}"], folder)
    assert server.is_ready(lambda: None, _START_DEADLINE_S)
    yield server
    server.close()


def imports_numpy_alone(accelerator: str) -> bool:
    """Return whether workers of an accelerator need nothing that takes long: it is the fake one, or one like it."""
    return accelerator == FAKE or not accelerator.startswith("pytest_accel.")


def forked_by(server: ForkServer) -> Callable[..., Worker]:
    """Return what starts a worker as `Worker` does, but forks those of the fake accelerator from the server.

    Unlike an SDK, NumPy does not depend on the environment in which it was imported.
    """

    def start(name: str, accelerator: str, **options: Any) -> Worker:
        here = options.get("place") is None and options["python"] == sys.executable
        if here and imports_numpy_alone(accelerator):
            options["fork_server"] = server
        return Worker(name, accelerator, **options)

    return start
