"""What a variant is compiled for, where its compiler works without the device; and what a record names in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.worker.accelerator import Present, Target

if TYPE_CHECKING:
    from pytest_accel.facts.records import Hardware, Variant
    from pytest_accel.session.session import Session


def target_of(session: Session, variant: Variant) -> Target | None:
    """Return what a variant is compiled for, None where its compiler needs the device.

    Raises `CompileFailed` where the compiler has no such device.
    """
    found = session.target(variant)
    return found if isinstance(found, Target) else None


def why_not_compiled(session: Session, variant: Variant) -> str | None:
    """Return why a variant cannot be compiled here, or None where it can. It need not be able to run."""
    try:
        found = session.target(variant)
    except CompileFailed:  # which compiling will raise again, as a refusal
        return None
    if isinstance(found, Target):
        return None
    if found.kind != "nothing-to-compile" and (absence := session.absence(variant.accelerator)) is None:
        return None
    return f"{found.reason}: {absence}" if found.kind == "needs-device" else f"{found.reason}; {found.action}"


def why_not_had(session: Session, variant: Variant) -> str | None:
    """Return why this run cannot have a variant, or None where it can. A run that only compiles needs no device."""
    return why_not_compiled(session, variant) if session.settings.compile_only else session.lack(variant)


def under_test(session: Session, variant: Variant) -> tuple[Hardware, dict[str, str]]:
    """Return the device and the versions that a record of a variant names.

    Where the device is absent and nothing is run, these are the machine that compiles and the compiler's versions.
    """
    name = variant.accelerator
    if isinstance(session.find(name), Present):
        return session.hardware(name), session.versions(name)
    try:
        target = target_of(session, variant)
    except CompileFailed:  # a refusal is on record all the same
        target = None
    return session.hardware(name), target.versions if target is not None else {}
