"""The first code that runs in a worker: a process that dies with its controller and imports what it was sent.

execnet executes the text of this file in the worker's interpreter, which need have neither pytest-accel nor pytest
installed: the sources of the worker rooms come over the channel and are imported from memory. Standard library only.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib.abc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import zlib
from types import CodeType, ModuleType
from typing import Any, Dict, Mapping, Optional, Sequence

#: _PR_SET_PDEATHSIG is the number by which ``prctl`` of Linux is asked for a signal when the parent ends.
_PR_SET_PDEATHSIG = 1


class Shipped(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from their sources in memory; tracebacks show their lines.

    ``sources`` maps a module's name to its source; a name with others below it is a package.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Any:
        """Find only what was shipped."""
        if fullname not in self._sources:
            return None
        return importlib.util.spec_from_loader(
            fullname, self, origin=self._file(fullname), is_package=self.is_package(fullname)
        )

    def is_package(self, fullname: str) -> bool:
        """Return whether modules below this one were shipped too."""
        return any(name.startswith(fullname + ".") for name in self._sources)

    def get_source(self, fullname: str) -> str:
        """Return the source, which tracebacks show."""
        return self._sources[fullname]

    def get_code(self, fullname: str) -> CodeType:
        """Compile under a name that no file has, so that a traceback calls `get_source`."""
        return compile(self._sources[fullname], self._file(fullname), "exec", dont_inherit=True)

    def _file(self, fullname: str) -> str:
        return f"shipped:{fullname.replace('.', '/')}.py"


def boot(channel: Any) -> None:
    """Arrange the process, then answer requests until the channel closes."""
    die_with_controller()
    cargo: Dict[str, Any] = channel.receive()  # fails if the controller died before the line above
    write_temporary_files_to(cargo["temporary"])
    redirect_output(cargo["log"])
    take_along(cargo["temporary"])
    report_stacks(cargo["stacks"])
    sys.meta_path.insert(0, Shipped({**kept_sources(cargo["rooms"]), **cargo["sources"]}))
    sys.meta_path.append(Shipped(cargo["stand_ins"]))
    module, _, attribute = cargo["accelerator"].partition(":")

    from pytest_accel.worker.serve import serve

    accelerator = getattr(importlib.import_module(module), attribute)
    serve(channel, accelerator())


def kept_sources(path: str) -> Dict[str, str]:
    """Return the sources of the worker rooms that another host keeps in a file; none where ``path`` is empty."""
    if not path:
        return {}
    with open(path, "rb") as file:
        rooms: Dict[str, str] = json.loads(zlib.decompress(file.read()))["rooms"]
    return rooms


def die_with_controller() -> None:
    """Lead a new process group, and let the kernel kill this process when the controller's thread ends."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def write_temporary_files_to(folder: str) -> None:
    """Let temporary files go to ``folder``: those of Python, of native code, and of programs that this one starts."""
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = folder  # in case that something has asked before


def take_along(folder: str) -> None:
    """Let a compiler that this process started end with it, whichever way it ends, and then remove ``folder``.

    A shell in the process group waits for the end of a pipe that only this process holds open, then kills the group.
    With that it ends itself, for which another shell waits outside the group. That one removes the folder, also where
    the controller is gone too. A killed program may still end a write, so there is a second try.
    """
    waiting_end, open_while_alive = os.pipe()
    last_end, open_until_killed = os.pipe()
    kill = "read _; kill -KILL 0"
    remove = 'read _; rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }'
    subprocess.Popen(["/bin/sh", "-c", kill], stdin=waiting_end, stdout=open_until_killed)
    subprocess.Popen(["/bin/sh", "-c", remove, "sh", folder], stdin=last_end, start_new_session=True)
    for end in (waiting_end, last_end, open_until_killed):
        os.close(end)
    os.register_at_fork(after_in_child=lambda: os.close(open_while_alive))


def redirect_output(log: str) -> None:
    """Send whatever is printed, by Python or by native code, to the end of a file that the controller may cut short."""
    sys.stdout.flush()
    sys.stderr.flush()
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def report_stacks(path: str) -> None:
    """Write the Python stack of every thread to ``path`` when the process crashes, and after SIGUSR1."""
    stacks = open(path, "ab", buffering=0)  # noqa: SIM115 - open for as long as the process lives
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)


if __name__ == "__channelexec__":
    boot(channel)  # type: ignore[name-defined]  # noqa: F821 - execnet puts it there
