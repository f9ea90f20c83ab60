"""Workers with TensorFlow that one process of the suite forks, so that not each of them imports it for five seconds.

They are those of TensorFlow itself and of the stand-ins that compute with it. Nothing has run in that process, and no
device was looked for: the product forks the launches of ``cpu`` in the same way. Tests of starting and of crashes start
their workers as users do.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.measuring import latency
from pytest_accel.processes import process
from pytest_accel.processes.fork_server import ForkServer, lasting_environment
from pytest_accel.worker.formats.saved_model import preload_tensorflow
from tests.plugin.forked_workers import ServerElsewhere
from tests.standins.nvidia_host import STANDINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_accel.processes.process import Worker

#: TENSORFLOW has the accelerators whose workers import TensorFlow whatever they are asked for.
TENSORFLOW = frozenset({"cpu", "eia", "gpu", "gpu-tftrt", "inf1", "inf2", "trn1"})
#: _READ_IN_USE has what each test sets for itself, and what the import of TensorFlow does not read. The stand-ins read
#: machines and habits when they are used. The library on the path of the made-up GPU is empty, so nobody loads it.
_READ_IN_USE = frozenset(
    {
        "ACCEL_HOST_ROOT",
        "HOME",
        "LD_LIBRARY_PATH",
        "PWD",
        "PYTEST_DEBUG_TEMPROOT",
        "STANDIN_MISBEHAVES",
        "STRANGER",
        "TMPDIR",
        "USERPROFILE",
    }
)
#: FEWEST_CALLS is the number of calls of a model in a run that is started here.
FEWEST_CALLS = 20
_ROOT = Path(__file__).parents[2]
#: _GPU is the folder with the stand-in for a TensorFlow that has a GPU.
_GPU = str(STANDINS / "tensorflow_gpu")
#: _COMMAND names the variable with the words of the command that stands for an interpreter with TensorFlow.
_COMMAND = "FORKED_TENSORFLOW"
#: _START_DEADLINE_S is the number of seconds that a server may take to import TensorFlow beside other work.
_START_DEADLINE_S = 300.0


class TensorFlowServers:
    """One server for each environment that TensorFlow was imported in, since it may depend on any variable of it.

    They start when they are asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[tuple[Mapping[str, str], ForkServer]] = []

    def here(self) -> ForkServer | None:
        """Return a server whose workers are those that would start in this moment; None without TensorFlow."""
        environment = {name: value for name, value in lasting_environment().items() if name not in _READ_IN_USE}
        if not any(distributions(name="tensorflow")):
            return None
        for imported_in, server in self._servers:
            if imported_in == environment:
                return server
        server = ForkServer(sys.executable, [_preload()], self._folder)
        self._servers.append((environment, server))
        assert server.is_ready(lambda: None, _START_DEADLINE_S)
        return server

    def close(self) -> None:
        """End them all."""
        for _, server in self._servers:
            server.close()


@pytest.fixture(scope="session")
def tensorflow_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorFlowServers]:
    """The servers of this session."""
    servers = TensorFlowServers(tmp_path_factory.mktemp("tensorflow"))
    yield servers
    servers.close()


def forked_by(server: Callable[[], ForkServer | ServerElsewhere | None]) -> Callable[..., Worker]:
    """Return what starts a worker as it has been done so far, but forks those that import TensorFlow.

    ``server`` gives what they come from in this moment.
    """
    otherwise = process.Worker

    def start(name: str, accelerator: str, **options: Any) -> Worker:
        if name in TENSORFLOW and options.get("python", sys.executable) == sys.executable:
            options["fork_server"] = options.get("fork_server") or server()
        return otherwise(name, accelerator, **options)

    return start


def in_a_run(servers: TensorFlowServers, patch: pytest.MonkeyPatch) -> list[str]:
    """Return the options with which a run of pytest forks its workers too; ``patch`` sets its environment.

    Where TensorFlow is, its models are called `FEWEST_CALLS` times.
    """
    patch.setenv("PYTHONPATH", str(_ROOT), prepend=os.pathsep)  # it finds this module
    server = servers.here()
    if server is None:
        return []
    patch.setenv(_COMMAND, json.dumps(server.command()))
    return ["-p", __name__]


def pytest_configure() -> None:
    """Fork the workers of this run, and make few calls: stand-ins are slow, and their speed is nobody's."""
    latency.FEWEST_CALLS = FEWEST_CALLS
    elsewhere = ServerElsewhere(json.loads(os.environ[_COMMAND]))
    process.Worker = forked_by(lambda: elsewhere)  # type: ignore[misc, assignment]


def _preload() -> str:
    """Return what imports TensorFlow. The GPU's stand-in has a way of its own, since it takes TensorFlow's place."""
    if _GPU in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        return "installed_tensorflow:preload"
    return f"{preload_tensorflow.__module__}:{preload_tensorflow.__name__}"
