"""A stand-in for tensorflow-neuron 2.10.1.2.10.1.0, which is for TensorFlow 2.10.

Written from github.com/aws-neuron/aws-neuron-tensorflow (3fd6869, 2023-06-22) and the guides of AWS's SDK. It keeps
names, signatures, defaults, log lines and error texts of `trace`, which takes no core, and runs on the TensorFlow that
is installed. `compiler` fuses operators into NeuronOps. `runtime` runs these on a made-up device (see
tests/standins/neuron_host.py), with TensorFlow as the engine: answers are true but for the cast.

It differs where a Python package must: a NeuronOp is a PyFunc while it is in memory, and an error in it arrives as
UnknownError, with the true class named in its text.

Habits of the real one, by ``STANDIN_MISBEHAVES``: ``no-compiler`` (neuron-cc is not installed: the graph comes back as
it was, with a line in the log), ``fails-to-compile`` (the same for a compiler that fails), ``refuses-operator``
(softmax is not supported, and stays on the host), ``refuses-pooling``
(the same in the middle of a network), ``refuses-combinations`` (the compiler of 2020: see `compiler`),
``slow-compile``; and of `runtime`: ``falls-back``, ``nan``, ``casts``, ``lost-device``, ``out-of-memory``,
``no-cores``, ``returns-early``.
"""

from __future__ import annotations

import sys

from tensorflow_neuron import runtime
from tensorflow_neuron.tracing import AwsNeuronModel, trace

__version__ = "2.10.1.2.10.1.0"
__all__ = ["AwsNeuronModel", "trace"]

runtime.register()
sys.modules.setdefault("tensorflow.neuron", sys.modules[__name__])
