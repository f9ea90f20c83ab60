"""A stand-in of OpenSSH's client. It runs its command on this machine, or fails as the client does for some hosts.

What goes over its pipes is what goes over the real one's. A command ends as behind that too: when the client is killed,
it reads the end of its input. The words of failures are those of OpenSSH 9.2.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pytest_accel.facts.settings import Host

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

#: FAILURES are what a client does first for the hosts ``no-box``, ``shut-box`` and ``new-box``.
FAILURES = """\
case "$*" in
*no-box*) echo "ssh: Could not resolve hostname no-box: Name or service not known" >&2; exit 255;;
*shut-box*) echo "me@shut-box: Permission denied (publickey,password)." >&2; exit 255;;
*new-box*) echo "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @" >&2; exit 255;;
esac
"""
#: _CLIENT has its last argument run by a shell, and passes on what either side says; so the shell outlives it.
_CLIENT = """\
#!{python} -IS
import os, subprocess, sys, threading
before = {before!r}
if before.startswith("exec "):
    os.execv("/bin/sh", ["sh", "-c", before])
script = ["/bin/sh", "-c", before + "\\n" + sys.argv[-1], *sys.argv]
shell = subprocess.Popen(script, stdin=-1, stdout=-1, start_new_session=True)

def pass_on(source, sink):
    try:
        while data := os.read(source, 65536):
            os.write(sink, data)
    except BrokenPipeError:
        pass

def pass_input():
    pass_on(0, shell.stdin.fileno())
    shell.stdin.close()

threading.Thread(target=pass_input, daemon=True).start()
pass_on(shell.stdout.fileno(), 1)
os._exit(shell.wait())
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, before: str = "") -> None:
    """Put the client where it is found first.

    ``before`` is what it does first, in the language of the shell, which has the client's arguments.
    """
    client = folder / "bin" / "ssh"
    client.parent.mkdir(exist_ok=True)
    program(client, _CLIENT.format(python=sys.executable, before=before))
    monkeypatch.setenv("PATH", str(client.parent), prepend=os.pathsep)


def program(path: Path, text: str) -> Path:
    """Write a program and return its path."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def box(folder: Path, python: str = sys.executable) -> Host:
    """A host with a cache and a temporary folder of its own."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment = (("XDG_CACHE_HOME", str(folder / "cache")), ("TMPDIR", str(folder / "tmp")))
    return Host("me@box", python, environment)
