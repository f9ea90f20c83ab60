"""The attendant: one process on another host that does there what is local to a machine, for one controller.

It answers requests ``{"number", "op", "params"}`` with ``{"number"}`` and a ``{"result"}`` or an ``{"error"}``, one at
a time. A prompt ``{"op", "params"}`` has no answer and is obeyed before anything is read that was sent after it. When
the controller is gone, or was not heard for a while, the attendant ends its workers and leaves nothing. Standard
library only.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
import traceback
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Dict, List, NoReturn, Optional

from pytest_accel.worker.host import arrival
from pytest_accel.worker.host.conditions import Conditions
from pytest_accel.worker.host.device_locks import DeviceLocks
from pytest_accel.worker.host.files import Files, Unkept, default_root
from pytest_accel.worker.host.identity import Identity
from pytest_accel.worker.host.operations import Operations
from pytest_accel.worker.host.processes import Processes
from pytest_accel.worker.host.remains import Remains
from pytest_accel.worker.host.scratch import Scratch

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

#: _LOOK_EVERY_S is the number of seconds between two looks at the logs, and at when the controller was last heard.
_LOOK_EVERY_S = 1.0


def attend(channel: Any) -> None:
    """Answer what comes over an execnet channel until the controller is gone."""
    start = channel.receive()
    prompts = channel.receive()
    try:
        attendant = Attendant(prompts, **start)
    except OSError as error:
        channel.send({"no_disk": " ".join(filter(None, [error.strerror or str(error), error.filename]))})
        return
    except Unkept as error:
        channel.send({"no_disk": str(error)})
        return
    channel.send(attendant.presentation())
    for request in channel:
        channel.send(attendant.answer(request))


def forward(channel: Any) -> None:
    """Pass on what the controller and a worker say to each other, as execnet does for a gateway ``via`` another."""
    source = arrival.unpacked(packed_sources())["execnet"]["execnet.gateway_io"]
    exec(compile(source, "execnet/gateway_io.py", "exec"), {"__name__": "__channelexec__", "channel": channel})


class Attendant:
    """All that is local to this machine.

    ``prompts`` is the channel of prompts. Files are kept under ``cache_limit_mb`` megabytes. A controller that says
    nothing for ``silence_s`` seconds is given up.
    """

    def __init__(self, prompts: Any, *, silence_s: float, cache_limit_mb: float) -> None:
        """Start to attend. Raises `OSError` and `Unkept` where this machine has no room for files."""
        self._files = Files(default_root(), cache_limit_mb)
        self._scratch = Scratch()
        self._processes = Processes()
        self._remains = Remains(self._scratch.path)
        local = (Conditions(), Identity(), DeviceLocks(), Sources(), self._files)
        self._operations = Operations(self._processes, self._remains, *local)
        self._prompts = prompts
        self._silence_s = silence_s
        self._heard_s = time.monotonic()
        self._leaving = threading.Lock()
        prompts.setcallback(self._obey, endmarker=None)
        threading.Thread(target=self._watch, daemon=True).start()

    def presentation(self) -> Plain:
        """Return who attends, and whether workers find NumPy here."""
        return {
            "pid": os.getpid(),
            "python": platform.python_version(),
            "executable": sys.executable,
            "numpy": find_spec("numpy") is not None,
        }

    def answer(self, request: Plain) -> Plain:
        """Do what was asked and return the answer. An exception is an answer too."""
        number = request["number"]
        try:
            return {"number": number, "result": self._operations.ask(request["op"], **request["params"])}
        except Exception as error:
            return {"number": number, "error": described(error)}

    def _obey(self, prompt: Optional[Plain]) -> None:
        """Do at once what has no answer, in the thread that reads the wire. None says that the wire has ended."""
        if prompt is None:
            self._leave()
        self._heard_s = time.monotonic()
        if prompt["op"] == "beat":
            self._prompts.send({})
        else:
            self.answer({"number": 0, **prompt})

    def _watch(self) -> None:
        while time.monotonic() - self._heard_s < self._silence_s:
            time.sleep(_LOOK_EVERY_S)
            self._remains.trim_logs()
        self._leave()

    def _leave(self) -> NoReturn:
        """End all workers, remove all files and end, with the locks of devices."""
        with self._leaving:
            self._processes.kill_children()
            self._files.let_go()
            self._scratch.remove()
            os._exit(0)


class Sources:
    """The sources that workers read."""

    def keep_sources(self, digest: str) -> Plain:
        """Return the path of the sources, written again where somebody has removed them."""
        path = arrival.path_of(digest)
        if not os.path.isfile(path):
            arrival.keep(packed_sources(), path)
        return {"path": path}


def packed_sources() -> bytes:
    """Return all sources, which the first code that ran here has left in the main module."""
    packed: bytes = vars(sys.modules["__main__"])["packed_sources"]
    return packed


def described(error: Exception) -> Dict[str, Any]:
    """Return an exception as plain data. ``refused`` is what says by itself what to do."""
    stack: List[str] = traceback.format_exception(type(error), error, error.__traceback__)
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(stack),
        "refused": isinstance(error, Unkept),
    }
