"""Which container image is served on which kind of instance.

AWS has an image for each kind: ``tensorflow-inference`` with ``-cpu`` or ``-gpu`` in its tag, and
``tensorflow-inference-neuronx`` with ``-neuronx``. Any of them runs anywhere. On an instance of another kind it
computes on the host, at the accelerator's price, without a word.
"""

from __future__ import annotations

import os
import re
from typing import Mapping, Pattern

from pytest_accel.worker.accelerator import Refused

#: VARIABLE names the image of every kind of instance whose own variable is not set.
VARIABLE = "ACCEL_SAGEMAKER_IMAGE"
_OWN_VARIABLES = {
    "cpu": "ACCEL_SAGEMAKER_IMAGE_CPU",
    "gpu": "ACCEL_SAGEMAKER_IMAGE_GPU",
    "neuron": "ACCEL_SAGEMAKER_IMAGE_NEURON",
}
#: _FAMILIES finds what computes in the name of an instance type; all others are processors alone.
_FAMILIES = re.compile(r"ml\.(?:(?P<gpu>[gp])|(?P<neuron>inf|trn))")
#: _TAGS finds in the tag of an image what it is made for.
_TAGS: Mapping[str, Pattern[str]] = {
    "gpu": re.compile(r"(?:^|[-_.])gpu(?:$|[-_.])"),
    "neuron": re.compile(r"(?:^|[-_.])neuronx?(?:$|[-_.])"),
}


def device_of(instance_type: str) -> str:
    """Return what computes on an instance type: ``cpu``, ``gpu`` or ``neuron``."""
    found = _FAMILIES.match(instance_type)
    return (found.lastgroup if found else None) or "cpu"


def variable_of(instance_type: str) -> str:
    """Return the environment variable with the image for this kind of instance alone."""
    return _OWN_VARIABLES[device_of(instance_type)]


def image_for(instance_type: str) -> str:
    """Return the image that the environment names for an instance type, empty where it names none.

    Raises `Refused` where the accelerator of the instance would idle behind it. A variable of its own is the user's
    word that the image fits.
    """
    own = variable_of(instance_type)
    if os.environ.get(own):
        return os.environ[own]
    image, device = os.environ.get(VARIABLE, ""), device_of(instance_type)
    if image and device != "cpu" and not _TAGS[device].search(_tag(image)):
        raise Refused(
            f"{VARIABLE}={image}: its tag names no {device}, so that the accelerator of {instance_type} would idle "
            f"behind it; set {own} to an image for it, or to this one if it is made for it all the same"
        )
    return image


def _tag(image: str) -> str:
    """Return the tag of an image; empty where it has none, or a digest alone."""
    name, _, _ = image.partition("@")
    return name.rpartition("/")[2].partition(":")[2]
