"""``--accel-list`` asks every host. What is wrong there is told apart, each with what to do.

The ssh client is a stand-in, and everything else is real.
"""

from __future__ import annotations

import json
import sys

import pytest

from pytest_accel.testing import FAKE
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.plugin.conftest import Project
from tests.standins import ssh_client
from tests.standins.ssh_client import program

#: OLD greets as a Python 3.6 does that is asked for its version, and runs nothing else that is sent.
OLD = '#!/bin/sh\nread -r _\necho "pytest-accel greets Python 3.6.9"\n'
#: FULL is loaded by a Python whose disk is full.
FULL = """\
import errno, tempfile

def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device", "/tmp")

tempfile.TemporaryFile = full
"""


def lacking(kind: str, reason: str, action: str) -> str:
    """The variable with which the fake accelerator is missing in this way."""
    script = {"missing": {"kind": kind, "reason": reason, "action": action}}
    return f"env:{ENVIRONMENT_VARIABLE}={json.dumps(script)}"


@pytest.fixture
def hosts(project: Project) -> dict[str, tuple[str, str, str]]:
    """Accelerators with the host of each, the line that tells about it, and the line with what to do."""
    folder = project.pytester.mkdir("programs")
    ssh_client.install(folder, project.monkeypatch, ssh_client.FAILURES)
    old, bare = program(folder / "old", OLD), program(folder / "bare", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    project.monkeypatch.setattr("pytest_accel.inputs.registry.BUILTIN", {})
    name_it = "*name the Python there that has the SDK, as in accel_host = *//python=/opt/sdk/bin/python"
    python = f"//python={sys.executable}"
    return {
        "here": ("", "present  fake device", ""),
        "there": (f"ssh=me@gpu-box{python}", "present  fake device on me@gpu-box", ""),
        "unreached": (
            "ssh=no-box",
            "absent   unreached: no-box cannot be reached: ssh: Could not resolve hostname no-box: *",
            "`ssh -oBatchMode=yes no-box true` has to work without a question",
        ),
        "shut": (
            "ssh=me@shut-box",
            "absent   refused: me@shut-box cannot be logged in to: me@shut-box: Permission denied (*).",
            "`ssh -oBatchMode=yes me@shut-box true` has to work without a question",
        ),
        "changed": (
            "ssh=new-box",
            "absent   refused: new-box shows another host key than before, so ssh refuses to talk to it",
            "find out why; *`ssh-keygen -R`*",
        ),
        "no-python": (
            "ssh=gpu-box//python=/nowhere/python",
            "absent   no-python: gpu-box does not start /nowhere/python as a Python: *not found",
            name_it,
        ),
        "old-python": (
            f"ssh=gpu-box//python={old}",
            f"absent   old-python: {old} on gpu-box is Python 3.6.9, and workers need 3.8",
            name_it,
        ),
        "no-numpy": (
            f"ssh=gpu-box//python={bare}",
            f"absent   no-numpy: {bare} on gpu-box (Python 3.*) has no NumPy",
            f"install it there with `{bare} -m pip install numpy`, or name the Python *",
        ),
        "no-disk": (
            f"ssh=gpu-box{python}//env:PYTHONPATH={program(folder / 'sitecustomize.py', FULL).parent}",
            "absent   no-disk: gpu-box has no room for temporary files: No space left on device /tmp",
            "free some space there, *",
        ),
        "no-sdk": (
            f"ssh=gpu-box{python}//{lacking('no-sdk', 'no fake-sdk', 'pip install fake-sdk')}",
            f"absent   no-sdk: {sys.executable} on gpu-box: no fake-sdk",
            "pip install fake-sdk; or name the Python there that has it, with //python=PATH in accel_host",
        ),
        "no-device": (
            f"ssh=gpu-box{python}//{lacking('no-hardware', 'no fake device', 'plug one in')}",
            "absent   no-hardware: on gpu-box: no fake device",
            "plug one in",
        ),
    }


def test_each_host_is_asked_and_what_is_wrong_there_is_told_apart_with_what_to_do(
    project: Project, hosts: dict[str, tuple[str, str, str]]
) -> None:
    project.pytester.makeconftest(f"def pytest_accel_accelerators(): return dict.fromkeys({list(hosts)}, {FAKE!r})")
    given = [f"--accel-host={name}={spec}" for name, (spec, _, _) in hosts.items() if spec]
    result = project.run("--accel-list", *given, workers=True)
    assert result.ret == 0
    for name, (_, line, action) in hosts.items():
        expected = [f"{name} *{line}", *([f" *{action}"] if action else [])]
        result.stdout.fnmatch_lines(expected, consecutive=True)


def test_a_machine_without_an_ssh_client_says_so(project: Project) -> None:
    project.pytester.makeconftest(f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}")
    project.monkeypatch.setattr("pytest_accel.inputs.registry.BUILTIN", {})
    project.monkeypatch.setenv("PATH", str(project.pytester.mkdir("empty")))
    result = project.run("--accel-list", "--accel-host=fake=ssh=gpu-box", workers=True)
    result.stdout.fnmatch_lines(
        ["fake *absent *no-ssh: gpu-box cannot be reached: this machine has no ssh client", " *install one (*)"]
    )
