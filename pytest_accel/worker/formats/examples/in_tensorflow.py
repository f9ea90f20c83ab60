"""The example networks as SavedModels, and one of them as a Keras file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict

from pytest_accel.worker.formats.examples.dialect import Dialect
from pytest_accel.worker.formats.saved_model import import_tensorflow

if TYPE_CHECKING:
    import numpy as np

    from pytest_accel.worker.formats.examples.networks import Network

_KERAS_SEED = 20261129


class TensorFlowWords(Dialect):
    """A value is a tensor. Images have the order height, width, channels."""

    def __init__(self, tensorflow: Any) -> None:
        super().__init__()
        self._tf = tensorflow

    def native(self, weight: np.ndarray) -> Any:
        return self._tf.Variable(weight)

    def convolve(self, image: Any, kernel: Any, *, stride: int, padding: int) -> Any:
        return self._tf.nn.conv2d(self._padded(image, padding), kernel, strides=stride, padding="VALID")

    def normalise(self, image: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Any:
        return self._tf.nn.batch_normalization(image, mean, variance, shift, scale, 1e-5)

    def relu(self, value: Any) -> Any:
        return self._tf.nn.relu(value)

    def add(self, one: Any, other: Any) -> Any:
        return one + other

    def halve(self, value: Any) -> Any:
        return value * self._tf.constant(0.5)

    def max_pool(self, image: Any) -> Any:
        return self._tf.nn.max_pool2d(self._padded(image, 1), ksize=3, strides=2, padding="VALID")

    def mean_of_image(self, image: Any) -> Any:
        return self._tf.reduce_mean(image, axis=[1, 2])

    def mean_of_tokens(self, tokens: Any) -> Any:
        return self._tf.reduce_mean(tokens, axis=1)

    def multiply(self, rows: Any, matrix: Any) -> Any:
        return self._tf.matmul(rows, matrix)

    def softmax(self, rows: Any) -> Any:
        return self._tf.nn.softmax(rows)

    def look_up(self, table: Any, numbers: Any) -> Any:
        return self._tf.gather(table, numbers)

    def positions(self, tokens: Any) -> Any:
        return self._tf.range(self._tf.shape(tokens, out_type="int64")[1])

    def zeros(self, value: Any) -> Any:
        return self._tf.zeros(self._tf.shape(value))

    def _padded(self, image: Any, padding: int) -> Any:
        sides = [padding, padding]
        return self._tf.pad(image, [[0, 0], sides, sides, [0, 0]]) if padding else image


def write(network: Network, folder: str) -> str:
    """Write the network as a SavedModel with a free batch, and return its folder."""
    tensorflow = import_tensorflow()
    words, module = TensorFlowWords(tensorflow), tensorflow.Module()

    def build(*inputs: Any) -> Dict[str, Any]:
        words.restart()
        return network.build(words, *inputs)

    # A function may make no variables when it is traced again, so they are made by a call outside of it.
    build(*(tensorflow.zeros([1, *entrance.shape], entrance.dtype) for entrance in network.entrances))
    module.weights = list(words.weights)
    specs = [tensorflow.TensorSpec([None, *each.shape], each.dtype, each.name) for each in network.entrances]
    path = os.path.join(folder, "model")
    signature = tensorflow.function(build, input_signature=specs)
    tensorflow.saved_model.save(module, path, signatures={"serving_default": signature})
    return path


def write_keras(folder: str) -> str:
    """Write a small convolutional network as a ``.keras`` file, and return its path."""
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(_KERAS_SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, name="scores"),
        ],
        name="convolution",
    )
    path = os.path.join(folder, "model.keras")
    model.save(path)
    return path
