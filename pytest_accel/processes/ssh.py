"""Reaching another machine with the ssh client of this one, up to an attendant that can be asked there.

How ssh finds the machine and proves who asks is its own configuration's business. It is never let ask a person.
"""

from __future__ import annotations

import base64
import contextlib
import re
import shlex
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import execnet
import msgspec
from execnet.gateway_base import get_execmodel
from execnet.gateway_bootstrap import sendexec

from pytest_accel.facts.errors import HostUnfit
from pytest_accel.processes.messages import Presentation
from pytest_accel.processes.place import GRACE_S, START_DEADLINE_S, discard
from pytest_accel.processes.shipping import host_sources, source_of

if TYPE_CHECKING:
    from pytest_accel.facts.settings import Host

#: _OPTIONS keep ssh from asking a person, from waiting for long, and from opening what its configuration forwards.
#: A client whose controller was killed ends by itself when the line is cut.
_OPTIONS = (
    *("-T", "-a", "-x", "-oBatchMode=yes", "-oConnectTimeout=20", "-oClearAllForwardings=yes"),
    *("-oServerAliveInterval=15", "-oServerAliveCountMax=4"),
)
#: _OWN_FAILURE is ssh's exit status for a failure of its own; any other one is that of the command on the host.
_OWN_FAILURE = 255
#: _REFUSED is what ssh prints where the host answers and lets nobody in.
_REFUSED = re.compile(r"denied|verification failed|authentication|no matching", re.IGNORECASE)
#: _GREETING is run by any Python, however old, and something may have printed before it.
_GREETING = """\
import sys
sys.stdout.write("\\npytest-accel greets Python %d.%d.%d\\n" % sys.version_info[:3])
sys.stdout.flush()
if sys.version_info >= (3, 8): exec(eval(sys.stdin.readline()))
"""
_GREETS = b"pytest-accel greets Python "
#: _MOST_PRINTED_BYTES is how much the host may print before its Python greets.
_MOST_PRINTED_BYTES = 2**20


class Ssh:
    """The process of an ssh client, whose pipes are execnet's wire (an ``IO``) to a Python on the host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the client lives
        try:
            self.process = subprocess.Popen(
                _command(host),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C on a terminal is the controller's
            )
        except FileNotFoundError:
            self._errors.close()
            raise HostUnfit(
                "no-ssh",
                f"{host.ssh} cannot be reached: this machine has no ssh client",
                "install one (Debian: apt-get install openssh-client)",
            ) from None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input, self._output = self.process.stdin, self.process.stdout
        self.execmodel = get_execmodel("thread")
        #: What the client, and the host through it, has printed as errors; known once it has ended.
        self.printed = ""

    def read(self, numbytes: int) -> bytes:
        """Return exactly so many bytes from the host. Raises `EOFError` where there are fewer."""
        found = self._output.read(numbytes)
        if len(found) < numbytes:
            raise EOFError(f"{len(found)} of {numbytes} bytes")
        return found

    def write(self, data: bytes) -> None:
        """Send bytes to the host."""
        self._input.write(data)
        self._input.flush()

    def close_read(self) -> None:
        """Read no more."""
        self._output.close()

    def close_write(self) -> None:
        """Send no more."""
        self._input.close()

    def wait(self) -> int | None:
        """Wait for the client to end; execnet asks for that."""
        return self.process.wait()

    def kill(self) -> None:
        """End the client at once."""
        self.process.kill()

    def end(self) -> str:
        """End the client, if it has not ended by itself, and return the last line that it has printed as an error.

        That may be a line of the host. May be called twice. The pipes are closed by who reads them.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        self.process.kill()
        self.process.wait()
        if not self._errors.closed:
            self._errors.seek(0)
            self.printed = self._errors.read().decode(errors="replace")
            self._errors.close()
        lines = (line.strip() for line in reversed(self.printed.splitlines()))
        return next(filter(None, lines), "")


def _command(host: Host) -> list[str]:
    """Return the command of the client. The shell of the host's user reads its last part."""
    named = [shlex.quote(f"{name}={value}") for name, value in host.environment]
    environment = ["env", *named] if named else []
    home, python = ("~/", host.python[2:]) if host.python.startswith("~/") else ("", host.python)
    start = '-u -c "import sys;exec(eval(sys.stdin.readline()))"'
    return ["ssh", *_OPTIONS, *shlex.split(host.ssh), " ".join([*environment, home + shlex.quote(python), start])]


class Attended:
    """A host with an attendant on it: execnet's gateway there, and the channels of requests and of prompts."""

    def __init__(self, ssh: Ssh, silence_s: float, cache_limit_mb: float) -> None:
        """Start the attendant. Raises `HostUnfit` where that cannot be, and ends the client then."""
        patience = threading.Timer(START_DEADLINE_S, ssh.kill)
        patience.start()
        try:
            self.gateway = _gateway(ssh)
            self.asked = self.gateway.remote_exec(
                "from pytest_accel.worker.host.attendant import attend\nattend(channel)"
            )
            self.prompts = self.gateway.newchannel()
            self.asked.send({"silence_s": silence_s, "cache_limit_mb": cache_limit_mb})
            self.asked.send(self.prompts)
            self.presentation = msgspec.convert(self.asked.receive(), Presentation)
            _require_fit(ssh.host, self.presentation)
        except (EOFError, OSError):
            raise _unfit(ssh) from None
        except BaseException:
            ssh.kill()
            ssh.end()
            discard(ssh.process)
            raise
        finally:
            patience.cancel()


def _gateway(ssh: Ssh) -> Any:
    """Have a Python on the host answer, send it the sources that it has not, and become execnet's other side."""
    sendexec(ssh, _GREETING)
    _require_version(ssh.host, _greeted(ssh))
    sources = host_sources()
    sendexec(ssh, source_of("pytest_accel.worker.host.arrival"), f"attend({sources.digest!r})")
    if _line(ssh) == b"wanted":
        ssh.write(base64.b64encode(sources.packed) + b"\n")
    if ssh.read(1) != b"1":
        raise EOFError
    spec = execnet.XSpec(f"ssh={ssh.host.ssh}")
    group = execnet.Group()
    group.allocate_id(spec)
    gateway = execnet.Gateway(ssh, spec)
    group._register(gateway)
    return gateway


def _greeted(ssh: Ssh) -> str:
    """Return the version of the Python that greets. Whatever the shell has printed before is passed over."""
    printed = 0
    while printed < _MOST_PRINTED_BYTES:
        line = _line(ssh)
        if line.startswith(_GREETS):
            return line[len(_GREETS) :].decode()
        printed += len(line) + 1
    raise EOFError


def _line(ssh: Ssh) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += ssh.read(1)
    return line.strip()


def _require_version(host: Host, version: str) -> None:
    if tuple(map(int, version.split("."))) < (3, 8):
        raise HostUnfit(
            "old-python", f"{host.python} on {host.ssh} is Python {version}, and workers need 3.8", _NAME_IT
        )


_NAME_IT = "name the Python there that has the SDK, as in accel_host = ...=ssh=...//python=/opt/sdk/bin/python"


def _require_fit(host: Host, presentation: Presentation) -> None:
    if presentation.no_disk:
        raise HostUnfit(
            "no-disk",
            f"{host.ssh} has no room for temporary files: {presentation.no_disk}",
            "free some space there, or name another folder of that machine with //env:TMPDIR=... in accel_host",
        )
    if not presentation.numpy:
        raise HostUnfit(
            "no-numpy",
            f"{host.python} on {host.ssh} (Python {presentation.python}) has no NumPy",
            f"install it there with `{host.python} -m pip install numpy`, or {_NAME_IT}",
        )


def _unfit(ssh: Ssh) -> HostUnfit:
    """End the client and return why no Python has greeted, from how it ended and what it has printed."""
    host, said = ssh.host, ssh.end() or "no answer"
    discard(ssh.process)
    status = ssh.process.returncode
    if status == _OWN_FAILURE and "IDENTIFICATION HAS CHANGED" in ssh.printed:
        return HostUnfit(
            "refused",
            f"{host.ssh} shows another host key than before, so ssh refuses to talk to it",
            "find out why; if that is right, remove the old key with `ssh-keygen -R`, and connect once by hand",
        )
    by_hand = f"`ssh -oBatchMode=yes {host.ssh} true` has to work without a question"
    if status == _OWN_FAILURE and _REFUSED.search(ssh.printed):
        return HostUnfit("refused", f"{host.ssh} cannot be logged in to: {said}", by_hand)
    if status == _OWN_FAILURE or status < 0:
        return HostUnfit("unreached", f"{host.ssh} cannot be reached: {said}", by_hand)
    return HostUnfit("no-python", f"{host.ssh} does not start {host.python} as a Python: {said}", _NAME_IT)
