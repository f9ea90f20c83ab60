"""A stand-in for tensorflow-neuronx 2.10.1.2.1.0, which the real one makes of the sources of tensorflow-neuron too.

Its compiler has other flags (``--auto-cast``, ``--auto-cast-type``) and computes in FP32 when told to. All else, the
habits included, is told in the stand-in of tensorflow-neuron.
"""

from __future__ import annotations

from typing import Any

from tensorflow_neuron import tracing

__version__ = "2.10.1.2.1.0"
__all__ = ["trace"]


def trace(func: Any, example_inputs: Any, subgraph_builder_function: Any = None) -> Any:
    """Convert a function to an ``AwsNeuronModel``."""
    return tracing.trace(func, example_inputs, subgraph_builder_function, neuronx=True)
