"""What a class of a model is called, where it comes from, and the text of its code."""

from __future__ import annotations

import inspect

from pytest_accel.facts.errors import SourceError


def package(of: type) -> str:
    """Return the top package of a class."""
    return of.__module__.partition(".")[0]


def class_name(of: type) -> str:
    """Return the name of a class with its module, where it is not Python's own."""
    return of.__qualname__ if of.__module__ == "builtins" else f"{of.__module__}.{of.__qualname__}"


def code(own: type) -> str:
    """Return the text of a class. Raises `SourceError` where there is none, since its changes could not be noticed."""
    try:
        return inspect.getsource(own)
    except (OSError, TypeError):
        raise SourceError(
            f"the source of {class_name(own)} cannot be read, so its changes could not be noticed: "
            f"export the model with model.export(folder) and pass the folder"
        ) from None
