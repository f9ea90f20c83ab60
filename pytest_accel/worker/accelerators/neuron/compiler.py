"""How AWS's SDK for TensorFlow compiles a SavedModel.

The SDK traces a function and reads flags from the environment. Tracing takes no NeuronCore: `trace` in the SDK's
``_trace.py`` runs the compiler and no model. A compiler that fails, or is not installed, is only a line in a log, so
`graph` looks at what was compiled.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
from contextlib import contextmanager
from typing import Any, Iterator, List, Mapping, Optional, Sequence

import numpy as np

from pytest_accel.worker.accelerator import Refused, Tensor
from pytest_accel.worker.formats import saved_model
from pytest_accel.worker.vendor_errors import explained

_FLAGS = "NEURON_CC_FLAGS"
#: _OWN are flags that are given in some cases only, by pytest-accel.
_OWN = ("--auto-cast-type", "--dynamic-batch-size", "--target")
#: TRACED_SIGNATURE is the one signature of a traced model, whatever the one that it was traced from is called.
TRACED_SIGNATURE = "serving_default"


def compiled_batch(options: Mapping[str, Any]) -> int:
    """Return the number of items that is compiled in. The runtime cuts a larger call where the batch is dynamic."""
    return int(options["compiled_batch"] or options["batch_size"])


def pieces(options: Mapping[str, Any]) -> int:
    """Return the number of compiled batches that the runtime cuts a call into."""
    return math.ceil(int(options["batch_size"]) / compiled_batch(options))


def extra_flags(extra: Mapping[str, Any]) -> List[str]:
    """Return the flags that a test adds: ``True`` stands for a flag without a value, ``False`` for none."""
    return [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in extra.items() if value is not False
    ]


def extra_problem(extra: Mapping[str, Any], own: Sequence[str]) -> Optional[str]:
    """Return why the names of added flags cannot be right, or None. ``own`` flags are made from other options."""
    for name in extra:
        if name.startswith("-"):
            return f"extra names the compiler's options without dashes: {name.lstrip('-')!r}, not {name!r}"
        if f"--{name}" in (*own, *_OWN):
            return f"extra={{{name!r}: ...}}: other options of this accelerator, or pytest-accel itself, decide that"
    return None


def compile_saved_model(sdk: Any, model: str, target: str, flags: List[str], options: Mapping[str, Any]) -> str:
    """Compile the SavedModel ``model`` into the new folder ``target``. Returns what the SDK has logged.

    Raises `Refused` with the SDK's words where the SDK raises an error, which it often does not.
    """
    if os.environ.get(_FLAGS):
        raise Refused(f"{_FLAGS} is set, and would compile something else than was asked for: unset it")
    with _warnings() as logged:
        try:
            _trace(sdk, model, target, flags, options)
        except Refused:
            raise
        except Exception as error:  # the SDK's own errors have no base class
            raise Refused(explained("Neuron cannot compile this model", error)) from error
    words = " ".join(" ".join(dict.fromkeys(logged)).split())
    return explained("its log says", words) if logged else ""


def _trace(sdk: Any, model: str, target: str, flags: List[str], options: Mapping[str, Any]) -> None:
    tensorflow = saved_model.import_tensorflow()
    loaded = tensorflow.saved_model.load(model)
    function = loaded.signatures[options["signature"]]
    inputs, _ = saved_model.tensors_of(function)
    batch = compiled_batch(options)
    example = {tensor.name: tensorflow.constant(_zeros(tensor, batch)) for tensor in inputs}
    dynamic = ["--dynamic-batch-size"] if options["dynamic_batch"] else []
    os.environ[_FLAGS] = " ".join(map(shlex.quote, [*flags, *dynamic]))
    try:
        # One argument that holds all inputs keeps their names.
        sdk.trace(tensorflow.function(lambda inputs: function(**inputs)), example).save(target)
    finally:
        del os.environ[_FLAGS]


def _zeros(tensor: Tensor, batch: int) -> np.ndarray:
    first, *others = tensor.shape
    if any(size is None for size in others):
        raise Refused(f"input {tensor.name!r} is {list(tensor.shape)}: only its batch may be dynamic; export it anew")
    return np.zeros([first or batch, *others], tensor.dtype)  # type: ignore[list-item]


@contextmanager
def _warnings() -> Iterator[List[str]]:
    """Collect the warnings that TensorFlow and the SDK log within the block."""
    logged: List[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(), logging.getLogger("tensorflow")]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        yield logged
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
