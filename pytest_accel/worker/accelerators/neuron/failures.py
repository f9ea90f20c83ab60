"""What an error of the Neuron runtime means: the device has failed, or it does not take this model or these inputs."""

from __future__ import annotations

import re

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.vendor_errors import explained

#: _OF_RUNTIME finds the words of the runtime's errors, in TensorFlow and in PyTorch. Others are about the inputs.
_OF_RUNTIME = re.compile(r"nrt_|Nrt::|Neuron Runtime could not|the model status=")


class DeviceFailed(Exception):
    """The device or the runtime failed, and neither the model nor the inputs are at fault."""


class NotExecuted(Exception):
    """The driver counted fewer inferences than calls were made: something else computed the outputs."""


def failure(error: Exception, otherwise: str) -> Exception:
    """Return what to raise for a vendor's error: `DeviceFailed` for the runtime's, else `Refused`, which begins so."""
    if _OF_RUNTIME.search(str(error)):
        return DeviceFailed(explained("the Neuron runtime failed", error))
    return Refused(explained(otherwise, error))
