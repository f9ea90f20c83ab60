"""Stand-in of ``tfn.trace`` for TensorFlow 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.eager.wrap_function import function_from_graph_def
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow_neuron import compiler, runtime


def trace(func: Any, example_inputs: Any, subgraph_builder_function: Any = None, *, neuronx: bool = False) -> Any:
    """Convert a function to an `AwsNeuronModel`; what does not compile stays as it was."""
    if not hasattr(func, "get_concrete_function"):
        func = tf.function(func)
    is_single_input = len(func.function_spec.fullargspec.args) == 1
    traced = func.get_concrete_function(*((example_inputs,) if is_single_input else example_inputs))
    frozen = convert_variables_to_constants_v2(traced)
    flat = tf.nest.flatten(example_inputs)
    graph_def = compiler.fuse(
        frozen.graph.as_graph_def(add_shapes=True),
        [tensor.op.name for tensor in frozen.outputs],
        int(flat[0].shape[0]),
        compiler.parse_flags(),
        neuronx=neuronx,
    )
    return AwsNeuronModel(graph_def, frozen, traced.structured_outputs, example_inputs)


class AwsNeuronModel(tf.Module):  # type: ignore[misc]
    """The compiled model, callable; in the real SDK it is a ``keras.Model``, and is saved like one."""

    def __init__(self, graph_def: Any, frozen: Any, structured_outputs: Any, example_inputs: Any) -> None:
        super().__init__()
        self.on_neuron_ratio = compiler.ratio(graph_def)
        inputs = [tensor.name for tensor in frozen.inputs]
        outputs = [tensor.name for tensor in frozen.outputs]
        self.aws_neuron_function = function_from_graph_def(runtime.to_py_func(graph_def), inputs, outputs)
        self._structure = structured_outputs
        self._example_inputs = example_inputs
        if self.on_neuron_ratio < 0.5:
            compiler.logger.warning(
                "Warning: Your traced model has %.1f%% of operators compiled to neuron.", 100 * self.on_neuron_ratio
            )

    def __call__(self, inputs: Any, *args: Any) -> Any:
        outputs = tf.nest.flatten(self.aws_neuron_function(*tf.nest.flatten([inputs, *args])))
        for tensor, described in zip(outputs, tf.nest.flatten(self._structure), strict=True):
            tensor.set_shape([None, *described.shape[1:]])
        return tf.nest.pack_sequence_as(self._structure, outputs)

    def save(self, filepath: str) -> None:
        """Write a SavedModel whose signature takes any batch, as Keras does."""
        example = self._example_inputs
        named: Mapping[str, Any] = example if isinstance(example, Mapping) else {"input_1": example}
        specs = {name: tf.TensorSpec([None, *each.shape[1:]], each.dtype, name) for name, each in named.items()}

        def serve(**inputs: Any) -> Any:
            outputs = self(inputs if isinstance(example, Mapping) else inputs["input_1"])
            return outputs if isinstance(outputs, Mapping) else {"output_1": outputs}

        signature = tf.function(serve).get_concrete_function(**specs)
        tf.saved_model.save(self, filepath, signatures={"serving_default": signature})
        runtime.to_neuron_op(filepath)
