"""A stand-in for tensorflow-neuron 2.10.1.2.10.1.0, or with ``STANDIN_TENSORFLOW=1.15`` for 1.15.5.2.10.1.0.

Written from github.com/aws-neuron/aws-neuron-tensorflow (3fd6869, 2023-06-22) and the guides of AWS's SDK. It keeps
names, signatures, defaults, log lines and error texts of `trace` and of `saved_model.compile`; it needs none of
TensorFlow's old releases, and runs on the one that is installed. `compiler` fuses operators into NeuronOps, `runtime`
runs these on a made-up device (see tests/standins/neuron_host.py), with TensorFlow as the engine: answers are true but
for the cast.

It differs where a Python package must: a NeuronOp is a PyFunc while it is in memory, and an error in it arrives as
UnknownError, with the true class named in its text.

Habits of the real one, by ``STANDIN_MISBEHAVES``: ``no-compiler`` (neuron-cc is not installed: the graph comes back as
it was, with a line in the log), ``fails-to-compile`` (the same for a compiler that fails), ``refuses-operator``
(softmax is not supported, and stays on the host), ``refuses-combinations`` (the compiler of 2020: see `compiler`),
``slow-compile``; and of `runtime`: ``falls-back``, ``nan``, ``casts``, ``lost-device``, ``out-of-memory``,
``no-cores``, ``returns-early``.
"""

from __future__ import annotations

import os
import sys

from tensorflow_neuron import runtime, saved_model

__version__ = "1.15.5.2.10.1.0" if os.environ.get("STANDIN_TENSORFLOW") == "1.15" else "2.10.1.2.10.1.0"

if not __version__.startswith("1."):
    from tensorflow_neuron.tracing import AwsNeuronModel, trace

    __all__ = ["AwsNeuronModel", "saved_model", "trace"]
else:
    __all__ = ["saved_model"]

runtime.register()
sys.modules.setdefault("tensorflow.neuron", sys.modules[__name__])
