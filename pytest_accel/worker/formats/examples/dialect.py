"""The words in which the example networks are written, and the weights that these ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, List

import numpy as np

_SEED = 20261129


class Dialect(ABC):
    """The operators of one framework. A value is whatever the framework calls so: a tensor, or a name in a graph.

    Kernels of convolutions have the order height, width, in, out, and images are in the framework's own order. Weights
    are drawn when a network asks for them first. After `restart` it gets the same ones again, so that a framework that
    traces a network twice makes them once.
    """

    def __init__(self) -> None:
        self.weights: List[Any] = []
        self._random = np.random.RandomState(_SEED)
        self._asked = 0

    def restart(self) -> None:
        """Begin the network anew, with the weights that it has."""
        self._asked = 0

    def kernel(self, *shape: int) -> Any:
        """Return weights by the initialisation of He, which keeps activations alive through all layers."""
        deviation = np.sqrt(2.0 / np.prod(shape[:-1]))
        return self._weight(lambda: self._random.normal(0.0, deviation, shape))

    def around(self, centre: float, size: int) -> Any:
        """Return ``size`` weights that differ from ``centre`` by a tenth at most."""
        return self._weight(lambda: centre * self._random.uniform(0.9, 1.1, size))

    def _weight(self, draw: Callable[[], np.ndarray]) -> Any:
        if self._asked == len(self.weights):
            self.weights.append(self.native(draw().astype(np.float32)))
        self._asked += 1
        return self.weights[self._asked - 1]

    @abstractmethod
    def native(self, weight: np.ndarray) -> Any:
        """Return a weight as the framework holds it."""

    @abstractmethod
    def convolve(self, image: Any, kernel: Any, *, stride: int, padding: int) -> Any:
        """Convolve; ``padding`` zeros are added on each side."""

    @abstractmethod
    def normalise(self, image: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Any:
        """Normalise each channel, as a batch normalisation does that has been trained."""

    @abstractmethod
    def relu(self, value: Any) -> Any:
        """Cut off what is below zero."""

    @abstractmethod
    def add(self, one: Any, other: Any) -> Any:
        """Add two values."""

    @abstractmethod
    def halve(self, value: Any) -> Any:
        """Multiply by a constant that is made inside the network and is no weight."""

    @abstractmethod
    def max_pool(self, image: Any) -> Any:
        """Take the largest of three by three at every second place, beside a border of zeros."""

    @abstractmethod
    def mean_of_image(self, image: Any) -> Any:
        """Return the mean of each channel."""

    @abstractmethod
    def mean_of_tokens(self, tokens: Any) -> Any:
        """Return the mean over the second dimension of three."""

    @abstractmethod
    def multiply(self, rows: Any, matrix: Any) -> Any:
        """Multiply the last dimension with a matrix."""

    @abstractmethod
    def softmax(self, rows: Any) -> Any:
        """Make the last dimension add up to one."""

    @abstractmethod
    def look_up(self, table: Any, numbers: Any) -> Any:
        """Return rows of a table by their numbers."""

    @abstractmethod
    def positions(self, tokens: Any) -> Any:
        """Return 0, 1, 2 and so on as INT64, one for each place of the second dimension, made in every call."""

    @abstractmethod
    def zeros(self, value: Any) -> Any:
        """Return zeros of the shape of a value, made in every call."""
