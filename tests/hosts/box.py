"""A box of the bed: a machine of its own as far as its processes can see, reached by a real ``sshd`` through a cable.

It is made of name spaces for the network, processes, mounts and the host's name. All of it lives as long as its first
process does, which the kernel ends with the one that booted it: nothing has to be swept, whichever way a test ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from tests.hosts.bed import Rack

BOOT = Path(__file__).with_name("boot.sh")
#: _BOOT_S is the number of seconds within which a box has to listen.
_BOOT_S = 20.0
_LISTENS = "Server listening on"
#: _OF_THIS_MACHINE are files of /etc that a box has as they are here.
_OF_THIS_MACHINE = ("alternatives", "ld.so.cache", "localtime", "nsswitch.conf")
_SSHD = """
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
PidFile none
"""


@dataclass
class Box:
    """One box. ``owner`` is the user that is logged in as, who has the number ``uid``; ``address`` ends its network's.

    ``python`` is its interpreter as the box sees it, and ``shown`` maps folders of this machine to where it sees them.
    """

    name: str
    owner: str
    uid: int
    address: str
    python: str
    shown: Mapping[Path, str]
    folder: Path
    rack: Rack
    disk_mb: int = 256
    _init: psutil.Process | None = field(default=None, init=False)
    _booting: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _changed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        for part in ("root", "etc/ssh", "disk"):
            (self.folder / part).mkdir(parents=True)
        self._write_etc()
        self.rack.mount_disk(self.folder / "disk", f"size={self.disk_mb}m,mode=700,uid={self.uid},gid={self.uid}")

    @property
    def ssh(self) -> str:
        """What the ssh client is given."""
        return f"{self.owner}@{self.name}"

    @property
    def public_key(self) -> str:
        """The key by which the box is known."""
        return (self.folder / "etc/ssh/host_key.pub").read_text(encoding="utf-8")

    # Its life

    def boot(self, **environment: str) -> None:
        """Start it, with these variables for whoever logs in, and plug its cable in."""
        self._changed = bool(environment)
        set_env = " ".join(["SetEnv", *(f'{name}="{value}"' for name, value in environment.items())])
        config = f"{_SSHD}{set_env}\n" if environment else _SSHD  # of several such lines only the first one counts
        (self.folder / "etc/ssh/sshd_config").write_text(config, encoding="utf-8")
        self._booting = subprocess.Popen(
            [*self.rack.within("--mount"), *_UNSHARE, "sh", str(BOOT)],
            env={
                "PATH": os.environ["PATH"],
                "NAME": self.name,
                "OWNER": self.owner,
                "ROOT": str(self.folder / "root"),
                "ETC": str(self.folder / "etc"),
                "DISK": str(self.folder / "disk"),
                "SHOWN": "\n".join(f"{source} {target}" for source, target in self.shown.items()),
            },
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._await_sshd()
        (first,) = psutil.Process(self._booting.pid).children()
        self._init = first
        here = f"{self.address.rpartition('.')[0]}.1"
        self.rack.perform(self.name, plug={"pid": first.pid, "here": here, "there": self.address})

    def _await_sshd(self) -> None:
        assert self._booting is not None
        assert self._booting.stderr is not None
        heard = b""
        for line in self._booting.stderr:
            heard += line
            if _LISTENS.encode() in line:
                return
        raise OSError(f"the box {self.name} does not boot:\n{heard.decode()}")

    def turn_off(self) -> None:
        """Take its power away: its processes and what it had in /tmp are gone, and nobody is told. The disk stays."""
        if self._booting is None:
            return
        if self._init is not None:
            self._init.kill()
            self._init.wait(_BOOT_S)
        self._booting.kill()
        self._booting.communicate()
        self.rack.perform(self.name, unplug=True)
        self._booting = self._init = None

    def reboot(self, **environment: str) -> None:
        """Take its power away and give it back."""
        self.turn_off()
        self.boot(**environment)

    def renew(self) -> None:
        """Make it as it was at first: on, with a sound cable, and with nothing on its disk or running."""
        self.line()
        if self._booting is None or self._changed:
            self.reboot()
        self.kill_everything()
        for folder in (self.home, self.path("/tmp"), self.path("/dev/shm")):
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()

    # What is seen of it from outside

    def run(self, command: str, *, check: bool = True) -> str:
        """Log in as its owner and run a command; return what that prints."""
        done = subprocess.run(
            [self.rack.ssh, self.ssh, command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def path(self, there: str) -> Path:
        """Return where this machine's root finds a path of the box."""
        assert self._init is not None
        return Path(f"/proc/{self._init.pid}/root", there.lstrip("/"))

    @property
    def home(self) -> Path:
        """Its owner's home."""
        return self.path(f"/home/{self.owner}")

    def processes(self) -> list[psutil.Process]:
        """Return what runs there, but for ``sshd``: it keeps a session until it hears that the line is dead."""
        return [process for process in self.everything() if process.info["name"] != "sshd"]

    def everything(self) -> Iterator[psutil.Process]:
        """Yield all processes there, with their names as ``info``: one may have ended before it is asked."""
        assert self._init is not None
        space = Path(f"/proc/{self._init.pid}/ns/pid").readlink()
        for process in psutil.process_iter(["name"]):
            with suppress(OSError, psutil.Error):
                if Path(f"/proc/{process.pid}/ns/pid").readlink() == space and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def await_idle(self, within_s: float) -> None:
        """Return once nothing runs there; fail where that takes longer."""
        until = time.monotonic() + within_s
        while left := self.processes():
            assert time.monotonic() < until, f"still on {self.name}: {[process.cmdline() for process in left]}"
            time.sleep(0.05)

    # What is done to it

    def kill_everything(self) -> None:
        """End all of its owner's processes, as ``pkill -u`` there would."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)

    def line(self, **quality: Any) -> None:
        """Have a cable of this quality, see `tests.hosts.cables.Quality`."""
        self.rack.perform(self.name, quality=quality)

    def passed_bytes(self) -> dict[str, int]:
        """Return how many bytes its cable has taken, by their way, ``there`` or ``back``. Those of TCP are counted."""
        return self.rack.perform(self.name)

    @contextmanager
    def full_disk(self, *, left_kb: int = 0) -> Iterator[None]:
        """Let its disk have no more space than this."""
        filler = self.home / "filler"
        free = os.statvfs(self.home)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - left_kb * 1024))
        try:
            yield
        finally:
            filler.unlink()

    def change_host_key(self) -> None:
        """Have another host key from the next boot on, as a machine that was installed anew."""
        key = self.folder / "etc/ssh/host_key"
        for file in (key, key.with_suffix(".pub")):
            file.unlink(missing_ok=True)
        make_key(key, self.name)

    def _write_etc(self) -> None:
        etc = self.folder / "etc"
        root, owner = "root:x:0:0::/root:/bin/sh", f"{self.owner}:x:{self.uid}:{self.uid}::/home/{self.owner}:/bin/sh"
        sshd = "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin"
        (etc / "passwd").write_text(f"{root}\n{sshd}\n{owner}\n", encoding="utf-8")
        (etc / "shadow").write_text("".join(f"{name}:*:::::::\n" for name in ("root", "sshd", self.owner)))
        (etc / "group").write_text(f"root:x:0:\nnogroup:x:65534:\n{self.owner}:x:{self.uid}:\n", encoding="utf-8")
        (etc / "hosts").write_text(f"127.0.0.1 localhost {self.name}\n", encoding="utf-8")
        for name in _OF_THIS_MACHINE:
            source = Path("/etc", name)
            if source.is_dir():
                shutil.copytree(source, etc / name, symlinks=True)
            elif source.exists():
                shutil.copyfile(source, etc / name)
        shutil.copyfile(self.rack.public_key, etc / "ssh/authorized_keys")
        self.change_host_key()


#: _UNSHARE is the command of a first process, which ends with the process that started it.
_UNSHARE = ("unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child")


def make_key(path: Path, comment: str) -> None:
    """Make a key of ssh without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True)
