"""TensorRT's log: a call of TensorRT that fails returns None or False, and only the logger gets the reason.

The logger has to outlive whatever was made with it. A process should have one logger for each product, TensorRT or
TensorRT for RTX, because the first one is kept.
"""

from __future__ import annotations

import sys
from typing import Any, List, TypeVar

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.vendor_errors import explained

_Made = TypeVar("_Made")

#: _LAYERS begins the message in which a builder lists the layers of a finished engine.
_LAYERS = "Layers:"


def capturing_logger(tensorrt: Any) -> Any:
    """Return an ``ILogger`` of the module ``tensorrt``, which it has as an attribute: all is made with both.

    It keeps the texts of errors in the list ``errors``, and what a builder lists of an engine in ``layers``. It also
    prints warnings.
    """
    severities = tensorrt.ILogger.Severity

    class Capturing(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)  # pybind11 refuses an object whose own part was not made
            self.tensorrt = tensorrt
            self.forget()

        def forget(self) -> None:
            self.errors: List[str] = []
            self.layers = ""

        def log(self, severity: Any, msg: str) -> None:
            if severity in (severities.INTERNAL_ERROR, severities.ERROR):
                self.errors.append(msg)
            if severity not in (severities.INFO, severities.VERBOSE):
                print(f"[TensorRT] {severity.name}: {msg}", file=sys.stderr)
            elif msg.startswith(_LAYERS):
                self.layers = msg[len(_LAYERS) :]

    return Capturing()


def done(answer: _Made, what: str, logger: Any) -> _Made:
    """Return the answer of a call. Raises `Refused` with the logged errors when it is None or False."""
    if answer is None or answer is False:
        words = "\n".join(logger.errors) or "it gave no reason"
        logger.errors.clear()
        raise Refused(explained(f"TensorRT cannot {what}", words))
    return answer
