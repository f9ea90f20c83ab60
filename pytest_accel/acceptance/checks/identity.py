"""Which device and software this is, by their own handles, and what could disturb it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from pytest_accel.acceptance.finding import Broken, Finding
from pytest_accel.machine.conditions import conditions
from pytest_accel.worker.accelerator import Present

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject

#: _OWN are the versions that every worker tells, whatever is under test.
_OWN = frozenset({"python", "numpy"})


def check_identity(subject: Subject) -> Finding:
    """Hold where the device has an identity and the software under test has versions."""
    session, name = subject.session, subject.accelerator
    found, versions = session.find(name), session.versions(name)
    assert isinstance(found, Present)  # an absent accelerator has no checks
    if not found.identity:
        raise Broken("the device tells nothing by which it could be told from another one")
    if not versions.keys() - _OWN:
        raise Broken("the SDK tells no version of what is under test")
    around = conditions(session.machine(name), in_process=session.settings.in_process)
    disturbed = [
        *([f"governor {around.governor}"] if around.governor else []),
        *([f"a quota of {around.cpu_quota_cores:g} cores"] if around.cpu_quota_cores else []),
        *([f"watched by {around.tracing}"] if around.tracing else []),
    ]
    numbers = {"free_memory_mb": psutil.virtual_memory().available / 2**20}
    return Finding(f"{session.hardware(name).fingerprint}{': ' if disturbed else ''}{', '.join(disturbed)}", numbers)
