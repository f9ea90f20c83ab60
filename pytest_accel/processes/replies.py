"""Replies of another process, checked before anybody uses them."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from pytest_accel.facts.errors import WorkerError

_Reply = TypeVar("_Reply")


def valid(reply: object, shape: type[_Reply], phase: str, *, of: str = "the worker") -> _Reply:
    """Return a reply as a ``shape``. Raises `WorkerError` where it is none; ``of`` says whose it is."""
    try:
        return msgspec.convert(reply, shape)
    except msgspec.ValidationError as error:
        raise WorkerError(f"{of}'s reply to {phase} is malformed: {error}", phase=phase) from error
