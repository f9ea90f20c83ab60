"""Keeps deep-learning inference fast, accurate and cheap on every accelerator you serve it from.

The names below are those that a test annotates, and those that the author of an accelerator needs. Each is imported
when it is first used. A pytest run without accelerator tests uses none, and the plugin costs it next to nothing.

This file is also sent to workers. They have Python 3.8, and of these names only those of an accelerator's author.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which need not be imported for it
if TYPE_CHECKING:
    from pytest_accel.check.accel_model import AccelModel, CompiledModel
    from pytest_accel.check.failed import CheckFailed
    from pytest_accel.facts.errors import AccelError
    from pytest_accel.facts.records import Accuracy, Placement, TestRecord, Variant
    from pytest_accel.measuring.divergence import Divergence
    from pytest_accel.measuring.results import HighestRate, Latency
    from pytest_accel.worker.accelerator import (
        Accelerator,
        Inspected,
        Missing,
        Observed,
        Option,
        Present,
        Refused,
        Source,
        Target,
        Tensor,
    )

__version__ = "0.1.0"

__all__ = [
    "AccelError",
    "AccelModel",
    "Accelerator",
    "Accuracy",
    "CheckFailed",
    "CompiledModel",
    "Divergence",
    "HighestRate",
    "Inspected",
    "Latency",
    "Missing",
    "Observed",
    "Option",
    "Placement",
    "Present",
    "Refused",
    "Source",
    "Target",
    "Tensor",
    "TestRecord",
    "Variant",
]

_MODULES = {
    "AccelError": "facts.errors",
    "AccelModel": "check.accel_model",
    "Accelerator": "worker.accelerator",
    "Accuracy": "facts.records",
    "CheckFailed": "check.failed",
    "CompiledModel": "check.accel_model",
    "Divergence": "measuring.divergence",
    "HighestRate": "measuring.results",
    "Inspected": "worker.accelerator",
    "Latency": "measuring.results",
    "Missing": "worker.accelerator",
    "Observed": "worker.accelerator",
    "Option": "worker.accelerator",
    "Placement": "facts.records",
    "Present": "worker.accelerator",
    "Refused": "worker.accelerator",
    "Source": "worker.accelerator",
    "Target": "worker.accelerator",
    "Tensor": "worker.accelerator",
    "TestRecord": "facts.records",
    "Variant": "facts.records",
}


def __getattr__(name: str) -> object:
    """Import the module that a public name is from, and return what it means."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The names that are here, and the public ones that are not imported yet."""
    return sorted({*globals(), *__all__})
