"""A stand-in of OpenSSH's client. It runs its command on this machine, or fails as the client does for some hosts.

So everything behind the client is real, and the host is this machine. Its words are those of OpenSSH 9.2.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_CLIENT = """\
#!/bin/sh
case "$*" in
*no-box*) echo "ssh: Could not resolve hostname no-box: Name or service not known" >&2; exit 255;;
*shut-box*) echo "me@shut-box: Permission denied (publickey,password)." >&2; exit 255;;
*new-box*) echo "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @" >&2; exit 255;;
esac
for command; do :; done
exec sh -c "$command"
"""


def install(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put the client where it is found before the real one."""
    program(folder / "ssh", _CLIENT)
    patch.setenv("PATH", str(folder), prepend=os.pathsep)


def program(path: Path, text: str) -> Path:
    """Write a program and return its path."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
