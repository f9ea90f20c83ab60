"""The example networks as exported PyTorch programs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict

import numpy as np

from pytest_accel.worker.formats import torch_model
from pytest_accel.worker.formats.examples.dialect import Dialect

if TYPE_CHECKING:
    from pytest_accel.worker.formats.examples.networks import Entrance, Network


class TorchWords(Dialect):
    """A value is a tensor. Images have the order channels, height, width."""

    def __init__(self, torch: Any) -> None:
        super().__init__()
        self._torch = torch
        self._functional = torch.nn.functional
        self.weights = torch.nn.ParameterList()  # which the module has to know

    def native(self, weight: np.ndarray) -> Any:
        order = (3, 2, 0, 1) if weight.ndim == 4 else tuple(range(weight.ndim))
        tensor = self._torch.from_numpy(np.ascontiguousarray(weight.transpose(order)))
        return self._torch.nn.Parameter(tensor, requires_grad=False)

    def convolve(self, image: Any, kernel: Any, *, stride: int, padding: int) -> Any:
        return self._functional.conv2d(image, kernel, stride=stride, padding=padding)

    def normalise(self, image: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Any:
        return self._functional.batch_norm(image, mean, variance, scale, shift, eps=1e-5)

    def relu(self, value: Any) -> Any:
        return self._functional.relu(value)

    def add(self, one: Any, other: Any) -> Any:
        return one + other

    def halve(self, value: Any) -> Any:
        return value * self._torch.tensor(0.5)

    def max_pool(self, image: Any) -> Any:
        return self._functional.max_pool2d(image, 3, stride=2, padding=1)

    def mean_of_image(self, image: Any) -> Any:
        return image.mean((2, 3))

    def mean_of_tokens(self, tokens: Any) -> Any:
        return tokens.mean(1)

    def multiply(self, rows: Any, matrix: Any) -> Any:
        return rows @ matrix

    def softmax(self, rows: Any) -> Any:
        return rows.softmax(-1)

    def look_up(self, table: Any, numbers: Any) -> Any:
        return self._functional.embedding(numbers, table)

    def positions(self, tokens: Any) -> Any:
        return self._torch.arange(tokens.shape[1])

    def zeros(self, value: Any) -> Any:
        return self._torch.zeros(value.shape)


def write(network: Network, folder: str) -> str:
    """Write the network with a free batch, and return the path of the file."""
    import torch

    words = TorchWords(torch)

    def build(*inputs: Any) -> Dict[str, Any]:
        words.restart()
        return network.build(words, *inputs)

    class OneInput(torch.nn.Module):  # type: ignore[misc] # PyTorch is not known before it is imported
        def __init__(self) -> None:
            super().__init__()
            self.weights = words.weights

        def forward(self, first: Any) -> Any:
            return build(first)

    class TwoInputs(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = words.weights

        def forward(self, first: Any, second: Any) -> Any:
            return build(first, second)

    example = tuple(_example(torch, entrance) for entrance in network.entrances)
    build(*example)  # makes the weights, before the program is exported
    module = OneInput() if len(example) == 1 else TwoInputs()
    path = os.path.join(folder, "model.pt2")
    torch_model.export(module, example, path)
    return path


def _example(torch: Any, entrance: Entrance) -> Any:
    shape = entrance.shape[-1:] + entrance.shape[:-1] if entrance.is_image else entrance.shape
    return torch.zeros((1, *shape), dtype=getattr(torch, entrance.dtype))
