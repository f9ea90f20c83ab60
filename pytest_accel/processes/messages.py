"""What comes over the wire from a worker or an attendant, checked before anybody uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pytest_accel.facts.errors import CompileFailed, UnfitInput, WorkerError

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain


class FarError(msgspec.Struct, forbid_unknown_fields=True):
    """An exception of the other side; ``refused`` where it is a refusal in the vendor's words."""

    type: str
    message: str
    traceback: str
    refused: bool


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """What a worker says: how far it is, what the user is told at once, or at last a result or an error.

    ``secrets`` must not be shown of its log.
    """

    progress: tuple[float | None, str] | None = None
    secrets: list[str] | None = None
    notice: str | None = None
    error: FarError | None = None
    result: dict[str, Any] | None = None


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What an attendant says to the request with this number."""

    number: int
    error: FarError | None = None
    result: dict[str, Any] | None = None


class Presentation(msgspec.Struct, forbid_unknown_fields=True):
    """Who attends on a host, or why nobody can: ``no_disk``."""

    pid: int = 0
    python: str = ""
    executable: str = ""
    numpy: bool = False
    no_disk: str = ""


def message_of(plain: object) -> Message:
    """Return a worker's message. Raises `msgspec.ValidationError` where it is none."""
    message = msgspec.convert(plain, Message)
    if message == Message():
        raise msgspec.ValidationError("it says nothing")
    return message


def result_of(message: Message, phase: str) -> Plain:
    """Return what an operation returned; raises what it raised."""
    if message.error is not None:
        raise error_of(message.error, phase)
    assert message.result is not None  # `message_of` lets no other one through
    return message.result


def error_of(error: FarError, phase: str) -> WorkerError:
    """Return an exception of the other side as one of ours, with the far traceback in its details."""
    message, details = error.message, error.traceback
    if error.refused and phase in ("compile", "deploy", "load"):
        return CompileFailed(message, phase=phase, details=details)
    if error.refused:  # a call with other arrays is the way out of it, and no traceback leads there
        return UnfitInput(message, phase=phase)
    if error.type == "MemoryError":
        message = message or "out of memory"
    return WorkerError(f"{phase} failed: {error.type}: {message}", phase=phase, details=details)
