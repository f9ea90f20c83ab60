"""The process that the controller sees in place of a worker that a fork server makes: it ends as the worker ended.

A script, run without site-packages because it starts with every worker. Its arguments are the fork server's socket and
the command that starts an interpreter, which it becomes where the server is gone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def main(address: str, command: list[str]) -> None:
    """Have a worker forked with the streams, folder and environment of this process, and end as it does."""
    os.setpgid(0, 0)  # Ctrl-C on a terminal is the controller's
    try:
        server = connect(address)
    except OSError:
        os.execv(command[0], command)
    with server:
        streams = [0, 1, 2]
        send(server, {"folder": str(Path.cwd()), "environment": dict(os.environ)}, streams)
        for stream in streams:  # the worker's end of its pipes is closed when the worker closes it
            os.close(stream)
        status = server.recv(64)
    end_like(json.loads(status) if status else signal.SIGKILL)


def send(server: socket.socket, wanted: Mapping[str, object], streams: Sequence[int]) -> None:
    """Send what a child shall be, and its standard streams with the first byte of it."""
    text = json.dumps(wanted).encode() + b"\n"
    socket.send_fds(server, [text[:1]], streams)
    server.sendall(text[1:])


def connect(address: str) -> socket.socket:
    """Connect to a Unix socket at a path of any length."""
    server = socket.socket(socket.AF_UNIX)
    with short(address) as name:
        server.connect(name)
    return server


@contextmanager
def short(address: str) -> Iterator[str]:
    """Give another name of a path, as short as the 107 bytes that the kernel takes of a Unix socket's."""
    folder = os.open(Path(address).parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{Path(address).name}"
    finally:
        os.close(folder)


def end_like(status: int) -> None:
    """End with the wait status of another process."""
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signum = os.WTERMSIG(status)
        if signum != signal.SIGKILL:
            signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
