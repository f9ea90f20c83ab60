"""The example networks. Their weights are random and the same every time, so that nothing has to be downloaded.

ResNet-50 is that of Keras in its layers and their order. Its residual branches are made quiet, since at full gain fifty
random layers keep little of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Tuple

if TYPE_CHECKING:
    from pytest_accel.worker.formats.examples.dialect import Dialect

#: _STAGES has the blocks and the channels inside a block of each stage.
_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
_BRANCH_GAIN = 0.3
_TOKENS, _WIDTH, _VOCABULARY = 16, 32, 128


@dataclass(frozen=True)
class Entrance:
    """One input: ``shape`` is that of one item, for an image its height, width and channels."""

    name: str
    shape: Tuple[int, ...]
    dtype: str = "float32"

    @property
    def is_image(self) -> bool:
        """Whether frameworks differ in the order of the dimensions."""
        return len(self.shape) == 3


@dataclass(frozen=True)
class Network:
    """A network: its inputs, and the function that makes outputs by name of a dialect and the inputs."""

    entrances: Tuple[Entrance, ...]
    build: Callable[..., Dict[str, Any]]


def _resnet50(words: Dialect, image: Any) -> Dict[str, Any]:
    hidden = words.max_pool(words.relu(_convolved(words, image, 3, 64, size=7, stride=2)))
    channels = 64
    for stage, (blocks, width) in enumerate(_STAGES):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            hidden = _block(words, hidden, channels, width, stride)
            channels = 4 * width
    logits = words.multiply(words.mean_of_image(hidden), words.kernel(channels, 1000))
    return {"predictions": words.softmax(logits)}


def _block(words: Dialect, value: Any, channels: int, width: int, stride: int) -> Any:
    shortcut = value
    if channels != 4 * width:
        shortcut = _convolved(words, value, channels, 4 * width, stride=stride)
    narrow = words.relu(_convolved(words, value, channels, width, stride=stride))
    wide = words.relu(_convolved(words, narrow, width, width, size=3))
    return words.relu(words.add(shortcut, _convolved(words, wide, width, 4 * width, gain=_BRANCH_GAIN)))


def _convolved(
    words: Dialect, value: Any, channels: int, width: int, *, size: int = 1, stride: int = 1, gain: float = 1.0
) -> Any:
    kernel = words.kernel(size, size, channels, width)
    made = words.convolve(value, kernel, stride=stride, padding=size // 2)
    scale, shift, mean, variance = (words.around(centre, width) for centre in (gain, 0.1, 0.1, 1.0))
    return words.normalise(made, scale, shift, mean, variance)


def _convolution(words: Dialect, image: Any) -> Dict[str, Any]:
    narrow = words.relu(words.convolve(image, words.kernel(3, 3, 3, 16), stride=2, padding=1))
    wide = words.relu(words.convolve(narrow, words.kernel(3, 3, 16, 32), stride=1, padding=1))
    return {"scores": words.multiply(words.mean_of_image(wide), words.kernel(32, 10))}


def _factory_ops(words: Dialect, tokens: Any) -> Dict[str, Any]:
    """Position numbers, zeros and a constant are made inside, as in most transformers."""
    places = words.look_up(words.kernel(_TOKENS, _WIDTH), words.positions(tokens))
    mixed = words.add(words.add(words.halve(tokens), words.zeros(tokens)), places)
    return {"mixed": words.multiply(mixed, words.kernel(_WIDTH, _WIDTH))}


def _int64_inputs(words: Dialect, numbers: Any) -> Dict[str, Any]:
    rows = words.look_up(words.kernel(_VOCABULARY, _WIDTH), numbers)
    return {"scores": words.multiply(words.mean_of_tokens(rows), words.kernel(_WIDTH, 10))}


def _two_inputs(words: Dialect, left: Any, right: Any) -> Dict[str, Any]:
    both = words.add(words.multiply(left, words.kernel(_WIDTH, _WIDTH)), words.multiply(right, words.kernel(8, _WIDTH)))
    return {"sum": both, "scores": words.multiply(words.relu(both), words.kernel(_WIDTH, 10))}


#: NETWORKS are all example networks by name.
NETWORKS: Mapping[str, Network] = {
    "resnet50": Network((Entrance("image", (224, 224, 3)),), _resnet50),
    "convolution": Network((Entrance("image", (32, 32, 3)),), _convolution),
    "factory_ops": Network((Entrance("tokens", (_TOKENS, _WIDTH)),), _factory_ops),
    "int64_inputs": Network((Entrance("numbers", (_TOKENS,), "int64"),), _int64_inputs),
    "two_inputs": Network((Entrance("left", (_WIDTH,)), Entrance("right", (8,))), _two_inputs),
}
