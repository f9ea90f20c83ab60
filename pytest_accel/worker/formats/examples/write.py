"""Which example network can be had in which kind of model, and writing one."""

from __future__ import annotations

import os
from typing import Callable, Mapping

from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.formats.examples import in_onnx, in_tensorflow, in_torch
from pytest_accel.worker.formats.examples.networks import NETWORKS, Network

_WRITERS: Mapping[str, Callable[[Network, str], str]] = {
    "saved_model": in_tensorflow.write,
    "onnx": in_onnx.write,
    "torch": in_torch.write,
}
#: IN_KERAS is the one example that there is as a Keras file too.
IN_KERAS = "convolution"


def write(name: str, kind: str, folder: str) -> Source:
    """Write an example network into ``folder``, which is made where it is not there.

    Raises `LookupError` where there is no such example, or not in this kind.
    """
    os.makedirs(folder, exist_ok=True)
    if (name, kind) == (IN_KERAS, "keras"):
        return Source(kind, in_tensorflow.write_keras(folder))
    if name not in NETWORKS or kind not in _WRITERS:
        raise LookupError(f"there is no example {name!r} of the kind {kind!r}")
    return Source(kind, _WRITERS[kind](NETWORKS[name], folder))
