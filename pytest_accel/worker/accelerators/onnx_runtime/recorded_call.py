"""Calls of ONNX Runtime as a CUDA graph, which repeats the kernels of one call with the memory that they had.

So inputs and outputs stay at one place on the device. Each request is copied there, and its answer from there, within
the call. A session holds one such call, and makes one at a time.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from pytest_accel.worker.accelerator import Arrays, Refused, Tensor


class RecordedCall:
    """The call of a session that was made with ``enable_cuda_graph``. Raises `Refused` where a size is not fixed."""

    def __init__(self, session: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self._session, self._binding = session, session.io_binding()
        self._inputs = _on_device(inputs)
        self._outputs = _on_device(outputs)
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def __call__(self, staged: Arrays) -> Arrays:
        """Make one call with arrays of the host, and return the outputs as such."""
        for name, value in self._inputs.items():
            value.update_inplace(staged[name])
        self._session.run_with_iobinding(self._binding)
        return {name: value.numpy() for name, value in self._outputs.items()}


def _on_device(tensors: Sequence[Tensor]) -> Dict[str, Any]:
    """Return memory of the device for each tensor, by name."""
    import numpy as np
    import onnxruntime

    make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
    return {each.name: make(_fixed(each), np.dtype(each.dtype).type, "cuda", 0) for each in tensors}


def _fixed(tensor: Tensor) -> List[int]:
    if None in tensor.shape:
        raise Refused(
            f"extra['enable_cuda_graph']: {tensor.name!r} has sizes that are not fixed, {list(tensor.shape)}, and a "
            "graph repeats work of one size: export the model with fixed ones, or leave the entry out"
        )
    return [size for size in tensor.shape if size is not None]
