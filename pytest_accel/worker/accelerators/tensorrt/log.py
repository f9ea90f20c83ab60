"""TensorRT's log: a call of TensorRT that fails returns None or False, and only the logger gets the reason.

The logger has to outlive whatever was made with it. A process should have one logger, because TensorRT keeps the first.
"""

from __future__ import annotations

import sys
from typing import Any, List, TypeVar

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.vendor_errors import explained

_Made = TypeVar("_Made")


def capturing_logger() -> Any:
    """Return a ``trt.ILogger`` that keeps the texts of errors in the list ``errors``, and also prints warnings.

    The module that it was made with is its attribute ``tensorrt``.
    """
    import tensorrt

    severities = tensorrt.ILogger.Severity

    class Capturing(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)  # pybind11 refuses an object whose own part was not made
            self.tensorrt = tensorrt
            self.errors: List[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (severities.INTERNAL_ERROR, severities.ERROR):
                self.errors.append(msg)
            if severity not in (severities.INFO, severities.VERBOSE):
                print(f"[TensorRT] {severity.name}: {msg}", file=sys.stderr)

    return Capturing()


def done(answer: _Made, what: str, logger: Any) -> _Made:
    """Return the answer of a call. Raises `Refused` with the logged errors when it is None or False."""
    if answer is None or answer is False:
        words = "\n".join(logger.errors) or "it gave no reason"
        logger.errors.clear()
        raise Refused(explained(f"TensorRT cannot {what}", words))
    return answer
