"""The bed on which hosts are tested: boxes with a real ``sshd``, and an ssh client that reaches them and nothing else.

All cables end in the rack, a name space without another way out. The client there is this machine's own, with a
configuration and keys of the bed. So no test touches the keys of whoever runs it, nor any address outside of the bed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hosts import cables
from tests.hosts.box import Box, make_key
from tests.interpreters import OURS, base_folder, environment_with_numpy, pythons

#: NEEDED are the programs of a bed, and what brings those that a machine may not have.
NEEDED = {
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "/usr/sbin/sshd": "openssh-server",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
#: ENVIRONMENT is where a box sees its virtual environment.
ENVIRONMENT = "/opt/accel"
#: The network of the bed is one of those that are for examples, and so nobody's.
_NETWORK = "192.0.2"
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


class CannotBeHad(Exception):
    """There is no bed here; the message says why not and what brings one."""


class Rack:
    """Where all cables end: the process that passes on what is sent, and the ssh client on this side of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "bin").mkdir()
        make_key(folder / "key", "controller")
        self.public_key = folder / "key.pub"
        self.ssh = folder / "bin/ssh"
        python = [sys.executable, "-I", cables.__file__]
        self._process = subprocess.Popen(
            [*_WITH_PARENT, "unshare", "--net", "--mount", *python],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C on a terminal is for the tests, which still have to clear up
        )
        self.pid = self._process.pid
        enter = f"exec nsenter --target={self.pid} --net"
        client = f'{shutil.which("ssh")} -F {folder}/ssh_config "$@"'
        self.ssh.write_text(f"#!/bin/sh\n{enter} {client}\n", encoding="utf-8")
        self.ssh.chmod(0o755)

    def within(self, *spaces: str) -> list[str]:
        """Return a command that runs another in these name spaces of the rack, and ends it with this process."""
        return [*_WITH_PARENT, "nsenter", f"--target={self.pid}", *spaces]

    def perform(self, box: str, **command: Any) -> dict[str, int]:
        """Have something done to the cable of a box, and return the bytes that it has passed on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"box": box, **command}), file=self._process.stdin, flush=True)
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer

    def mount_disk(self, folder: Path, options: str) -> None:
        """Make a folder a disk, which boxes see that are booted afterwards."""
        subprocess.run([*self.within("--mount"), "mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)

    def write_ssh_config(self, boxes: Mapping[str, Box]) -> None:
        """Let the client know these boxes, by the keys that they have by now."""
        known = "".join(f"{box.name} {box.public_key}" for box in boxes.values())
        (self._folder / "known_hosts").write_text(known, encoding="utf-8")
        hosts = "".join(
            f"Host {box.name}\n  HostName {box.address}\n  HostKeyAlias {box.name}\n  User {box.owner}\n"
            for box in boxes.values()
        )
        (self._folder / "ssh_config").write_text(
            f"{hosts}Host *\n  IdentityFile {self._folder}/key\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {self._folder}/known_hosts\n  GlobalKnownHostsFile none\n",
            encoding="utf-8",
        )

    def close(self) -> None:
        """Take it away, and with it the disks of all boxes."""
        self._process.kill()
        self._process.communicate()


class Bed:
    """The boxes of a session by name, all of them on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.chmod(0o755)
        self.rack = Rack(folder)
        self.boxes: dict[str, Box] = {}
        self._number = 1  # that of the rack

    def add(self, name: str, owner: str, python: str, shown: Mapping[Path, str], **more: Any) -> Box:
        """Add a box and boot it."""
        number = self._number = self._number + 1
        box = Box(
            name=name,
            owner=owner,
            uid=64100 + number,
            address=f"{_NETWORK}.{number}",
            python=python,
            shown=shown,
            folder=self._folder / name,
            rack=self.rack,
            **more,
        )
        self.boxes[name] = box
        self.rack.write_ssh_config(self.boxes)
        box.boot()
        return box

    def remove(self, box: Box) -> None:
        """Take a box away for good."""
        box.turn_off()
        del self.boxes[box.name]
        self.rack.write_ssh_config(self.boxes)

    @property
    def path(self) -> str:
        """The path of programs on which the ssh client is that of the bed."""
        return f"{self.rack.ssh.parent}{os.pathsep}{os.environ['PATH']}"

    def close(self) -> None:
        """Take it all away."""
        for box in self.boxes.values():
            box.turn_off()
        self.rack.close()


@contextmanager
def open_bed(folder: Path) -> Iterator[Bed]:
    """Have a bed with two boxes: other users, other Pythons and other NumPys. Raises `CannotBeHad`."""
    require_bed()
    made = Bed(folder)
    try:
        for (name, owner), (version, python) in zip(
            {"gpu-box": "ada", "inf-box": "grace"}.items(), two_pythons(), strict=True
        ):
            made.add(name, owner, f"{ENVIRONMENT}/bin/python", with_numpy(python, version, folder / f"python-{name}"))
        yield made
    finally:
        made.close()


def require_bed() -> None:
    """Raise `CannotBeHad` unless there can be a bed here."""
    lacking = {package: program for program, package in NEEDED.items() if shutil.which(program) is None}
    if lacking:
        raise CannotBeHad(f"there is no {', '.join(lacking.values())}: apt-get install {' '.join(lacking)}")
    if os.geteuid() != 0:
        raise CannotBeHad("only root can have name spaces with other users in them: run as root, in a container say")
    tried = subprocess.run(["unshare", "--net", "--pid", "--fork", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise CannotBeHad(f"no name spaces can be made here ({tried.stderr.strip()}): give the container more rights")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise CannotBeHad("there is no /dev/net/tun, of which the cables are made: modprobe tun, or --device it")


def two_pythons() -> list[tuple[str, str]]:
    """Return the oldest Python and the newest one that is not ours, where there are so many."""
    found = list(pythons().items())
    others = [each for each in found if each[0] != OURS] or found
    return [others[0], others[-1]]


def with_numpy(python: str, version: str, folder: Path) -> dict[Path, str]:
    """Return what a box has to be shown of a new virtual environment and of the interpreter that it is made from."""
    made = environment_with_numpy(python, version, folder)
    if made.returncode:
        raise CannotBeHad(f"no NumPy can be installed for Python {version}: {made.stderr.strip().splitlines()[-1]}")
    base = base_folder(python)
    return {folder: ENVIRONMENT, **({} if base.is_relative_to("/usr") else {base: str(base)})}
