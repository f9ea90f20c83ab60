"""Which machine a measurement ran on: the identity of its hardware, and its fingerprint.

The fingerprint names the hardware and nothing else: it is the key of a baseline, and software is what is under test.
What slows a machine for a while is in `conditions`. The facts are read by `pytest_accel.worker.host.identity`: here in
process, and on another host by its attendant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_accel import __version__
from pytest_accel.facts.fingerprint import digest_of, fingerprint_of, slug_of
from pytest_accel.facts.records import Hardware
from pytest_accel.machine.here import HERE

if TYPE_CHECKING:
    from pytest_accel.facts.fact import Scalar
    from pytest_accel.machine.here import Ask

#: _ONE_PIECE are facts that tell one card from the next of its kind, whichever process looks at it.
_ONE_PIECE = re.compile(r"uuid|serial|bus_id")


def describe_hardware(
    device: str, identity: Mapping[str, Scalar], ask: Ask = HERE, *, instance_type: str | None = None
) -> Hardware:
    """Return the hardware's identity and its fingerprint, such as ``intel-xeon-2c-24g-3fa9c1``.

    ``device`` names the device, and its machine itself where it is empty. ``identity`` is what the accelerator's own
    handle says; where both speak of the same thing the handle is right. ``instance_type`` overrides what the firmware
    says.
    """
    machine = ask("identity")
    facts: dict[str, Scalar] = {
        "device": device or machine["processor"]["cpu"],
        **machine["processor"],
        "memory_gb": machine["memory_gb"],
    }
    if known_type := instance_type or machine["instance_type"]:
        facts["instance_type"] = known_type
    facts.update(identity)
    return Hardware(fingerprint=fingerprint_of(facts), identity=facts)


def seen_through(hardware: Hardware, identity: Mapping[str, Scalar]) -> Hardware:
    """Return the hardware with what the handle in use says of itself, which is right where the two differ."""
    facts = {**hardware.identity, **identity}
    return Hardware(fingerprint=fingerprint_of(facts), identity=facts)


def device_name(hardware: Hardware) -> str:
    """Return a file name for the one piece of hardware: cards of a kind differ by their serial, all else by their kind.

    Every accelerator that runs on the processor has the same one.
    """
    facts = hardware.identity
    single = {name: value for name, value in facts.items() if _ONE_PIECE.search(name)}
    device = "processor" if facts["device"] == facts["cpu"] and not single else str(facts["device"])
    return f"{slug_of(device)}-{digest_of([device, single])}"


def controller_versions(ask: Ask = HERE) -> dict[str, str]:
    """Return what is added to the versions that a worker reports: our own, and its machine's kernel."""
    return {"pytest-accel": __version__, "kernel": str(ask("identity")["kernel"])}
