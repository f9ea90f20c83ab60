"""A compiled SavedModel that can be called: as a function of TensorFlow 2, or in a session of TensorFlow 1.15.

Both take staged inputs and give arrays that the host can read. `compiler` compiles.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Tuple, Type, Union

from pytest_accel.worker.accelerator import Arrays, Tensor
from pytest_accel.worker.formats import saved_model


class TensorFlowFunction:
    """One signature of a SavedModel as a function of TensorFlow 2."""

    def __init__(self, folder: str, signature: str) -> None:
        tensorflow = saved_model.import_tensorflow()
        self._model = tensorflow.saved_model.load(folder)  # a signature alone does not keep its variables alive
        self._function = self._model.signatures[signature]
        self._constant = tensorflow.constant
        self.errors: Tuple[Type[Exception], ...] = (tensorflow.errors.OpError,)
        self.inputs, self.outputs = saved_model.tensors_of(self._function)

    def stage(self, inputs: Arrays) -> Any:
        """Return the inputs as TensorFlow's tensors."""
        return {name: self._constant(array) for name, array in inputs.items()}

    def run(self, staged: Any) -> Arrays:
        """Make one call. Raises one of ``errors``."""
        return {name: tensor.numpy() for name, tensor in self._function(**staged).items()}

    def close(self) -> None:
        """Do nothing: only memory is held."""


class TensorFlowSession:
    """One signature of a SavedModel in a session of its own, as TensorFlow 1.15 serves it."""

    def __init__(self, folder: str, signature: str) -> None:
        tensorflow = saved_model.import_tensorflow()
        self._session = tensorflow.compat.v1.Session(graph=tensorflow.Graph())
        with self._session.graph.as_default():
            graph = tensorflow.compat.v1.saved_model.load(self._session, ["serve"], folder)
        definition = graph.signature_def[signature]
        self._feeds = {name: tensor.name for name, tensor in definition.inputs.items()}
        self._fetches = {name: tensor.name for name, tensor in definition.outputs.items()}
        self.inputs, self.outputs = _tensors(definition.inputs), _tensors(definition.outputs)
        self.errors: Tuple[Type[Exception], ...] = (tensorflow.errors.OpError,)

    def stage(self, inputs: Arrays) -> Any:
        """Return the inputs by the names under which the session takes them."""
        return {self._feeds[name]: array for name, array in inputs.items()}

    def run(self, staged: Any) -> Arrays:
        """Make one call. Raises one of ``errors``."""
        outputs: Arrays = self._session.run(self._fetches, staged)
        return outputs

    def close(self) -> None:
        """End the session."""
        self._session.close()


TensorFlowProgram = Union[TensorFlowFunction, TensorFlowSession]


def _tensors(described: Mapping[str, Any]) -> List[Tensor]:
    as_dtype = saved_model.import_tensorflow().dtypes.as_dtype
    return [
        Tensor(
            name,
            as_dtype(tensor.dtype).name,
            tuple(None if dim.size < 0 else dim.size for dim in tensor.tensor_shape.dim),
        )
        for name, tensor in sorted(described.items())
    ]
