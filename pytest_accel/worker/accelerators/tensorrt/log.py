"""TensorRT's words: its calls say no with None or False, and tell why to a logger only.

The logger has to outlive whatever was made with it, and a process should have one: TensorRT keeps the first that it
was given.
"""

from __future__ import annotations

import sys
from typing import Any, List, TypeVar

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.vendor_errors import explained

_Made = TypeVar("_Made")


def capturing_logger() -> Any:
    """A ``trt.ILogger`` that keeps the texts of errors in its list ``errors``, and prints warnings too."""
    import tensorrt

    severities = tensorrt.ILogger.Severity

    class Capturing(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)  # pybind11 refuses an object whose own part was not made
            self.errors: List[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (severities.INTERNAL_ERROR, severities.ERROR):
                self.errors.append(msg)
            if severity not in (severities.INFO, severities.VERBOSE):
                print(f"[TensorRT] {severity.name}: {msg}", file=sys.stderr)

    return Capturing()


def done(answer: _Made, what: str, logger: Any) -> _Made:
    """The answer of a call, or `Refused` with what the logger was told since when it is None or False."""
    if answer is None or answer is False:
        words = "\n".join(logger.errors) or "it gave no reason"
        logger.errors.clear()
        raise Refused(explained(f"TensorRT cannot {what}", words))
    return answer
