"""A compiled SavedModel that can be called as a function of TensorFlow. `compiler` compiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Tuple, Type

from pytest_accel.worker.formats import saved_model

if TYPE_CHECKING:
    from pytest_accel.worker.accelerator import Arrays


class TensorFlowFunction:
    """One signature of a SavedModel, which takes staged inputs and gives arrays that the host can read."""

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
