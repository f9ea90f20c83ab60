"""How the models of this suite are made: ``python -m tests.models.recipes RECIPE FOLDER [FOLDER OF THE ORIGINAL]``.

The one file of the suite that imports TensorFlow, so it always runs in a process of its own (see `zoo`). Everything is
seeded and nothing is downloaded. The images are scikit-learn's handwritten digits: real pixels with real labels.

A folder gets the SavedModel under the recipe's name. An original also gets ``RECIPE.keras`` and ``val.npz``: ``images``
(n, 8, 8) uint8 and ``labels`` of digits that it has not seen. ResNet-50 comes as ``resnet50.onnx`` too, and as
``resnet50_doubled.onnx``, which does more work for the same answers; the CNN has its accuracy in ``facts.json``. The
last line of the output says what is going on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from tests.models.onnx_recipes import ResNet50
from tests.models.pixels import enlarge, normalise

SEED = 20
PROBE_SAMPLES = 384  # what a linear probe on 2,048 features is fitted to
VALIDATION = slice(512, 640)  # 128 samples, 77 MB as 224x224 float32
ADAPTATION_BATCHES = 3
ADAPTATION_BATCH = 8  # each image has thousands of positions to take the mean of
FITTING_BATCH = 32
#: Scales a residual branch to almost nothing: the branch costs all its work, and no compiler can prove it useless.
NEGLIGIBLE = 1e-6

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def digits(seed: int = SEED) -> tuple[Images, Labels]:
    """All 1,797 digits in a seeded order: images (n, 8, 8) of 0..16, labels (n,) of 0..9."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    return images[order].reshape(-1, 8, 8).astype(np.uint8), labels[order].astype(np.int64)


def resnet50() -> tuple[keras.Model, Images, Labels]:
    """ResNet-50 with random weights that classifies digits: the features are random, its head is fitted."""
    images, labels = digits()
    model = keras.applications.ResNet50(weights=None, input_tensor=keras.Input((224, 224, 3), name="image"))
    quieten_branches(model)
    adapt_batch_norm(model, enlarge(images[: ADAPTATION_BATCH * ADAPTATION_BATCHES]))
    pooled = keras.Model(model.input, model.get_layer("avg_pool").output)
    features = np.concatenate(list(computed(pooled, images[:PROBE_SAMPLES])))
    fit_head(model.get_layer("predictions"), features, labels[:PROBE_SAMPLES])
    return model, images[VALIDATION], labels[VALIDATION]


def computed(model: keras.Model, images: Images) -> Iterator[NDArray[np.float32]]:
    """What the model makes of the images, a batch at a time."""
    for start in range(0, len(images), FITTING_BATCH):
        print(f"its head learns from {start} of {len(images)} digits", flush=True)
        yield model.predict_on_batch(enlarge(images[start : start + FITTING_BATCH]))


def quieten_branches(model: keras.Model, gain: float = 0.3) -> None:
    """Scale what each residual block adds: fifty random layers at full gain keep little of the digit: 65 %."""
    for layer in model.layers:
        if layer.name.endswith("_3_bn"):
            gamma, *others = layer.get_weights()
            layer.set_weights([gamma * gain, *others])


def adapt_batch_norm(model: keras.Model, inputs: NDArray[np.float32]) -> None:
    """Set the moving statistics to the mean of those of a few batches; at their initial 0 and 1, features explode."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for step, batch in enumerate(np.array_split(inputs, ADAPTATION_BATCHES)):
        for layer in layers:
            layer.momentum = step / (step + 1)  # the running mean: 0, 1/2, 2/3
        model(batch, training=True)


def fit_head(head: keras.layers.Dense, features: NDArray[np.float32], labels: Labels, *, ridge: float = 0.1) -> None:
    """Set the first ten outputs of ``head`` by ridge regression; the others stay, far below them."""
    kernel, bias = (weight.copy() for weight in head.get_weights())
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scaled = (features - centre) / spread
    targets = np.eye(10)[labels] - 0.1
    dual = np.linalg.solve(scaled @ scaled.T + ridge * scaled.shape[1] * np.eye(len(scaled)), targets)
    temperature = 10.0  # turns a difference of one class into a confident softmax
    probe = temperature * (scaled.T @ dual) / spread[:, None]
    kernel[:, :10], bias[:10] = probe, -centre @ probe
    kernel[:, 10:] *= 0.01
    bias[10:] = -temperature
    head.set_weights([kernel, bias])


def digits_cnn() -> tuple[keras.Model, Images, Labels]:
    """A small CNN, trained for seconds; 1,347 digits to learn from and 450 held out."""
    tf.config.experimental.enable_op_determinism()  # in training the seed alone leaves the order of sums open
    images, labels = digits()
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="edges"),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="strokes"),
            keras.layers.MaxPooling2D(name="pool"),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits_cnn",
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(normalise(images[450:]), labels[450:], epochs=8, batch_size=32, verbose=0)
    return model, images[:450], labels[:450]


def stage_doubled(model: keras.Model) -> keras.Model:
    """ResNet-50 with conv4's five equal blocks applied twice: 28 % more multiplications, the same answers.

    The copies' branches are scaled to almost nothing, so that what they are added to passes through.
    """
    start, end = (model.get_layer(name).output for name in ("conv4_block1_out", "conv4_block6_out"))
    blocks = keras.Model(start, end)
    copies = keras.models.clone_model(blocks)
    copies.set_weights(blocks.get_weights())
    quieten_branches(copies, NEGLIGIBLE)
    for layer in copies.layers:
        if layer.name.endswith("_3_bn"):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta * 0, mean, variance])
    tail = keras.Model(end, model.output)
    return keras.Model(model.input, tail(copies(end)))


def convolutions_added(model: keras.Model, count: int = 12) -> keras.Model:
    """The CNN with ``count`` convolutions more after "strokes", each the identity: real work that changes nothing."""
    added = range(count)
    layers: list[keras.Layer] = []
    for layer in model.layers:
        layers.append(layer)
        if layer.name == "strokes":
            layers += [
                keras.layers.Conv2D(32, 3, padding="same", use_bias=False, name=f"same{i}") for i in range(count)
            ]
    slower = keras.Sequential([keras.Input((8, 8, 1), name="image"), *layers], name="digits_cnn")
    identity = np.zeros((3, 3, 32, 32), np.float32)
    identity[1, 1] = np.eye(32)
    for i in added:
        slower.get_layer(f"same{i}").set_weights([identity])
    return slower


def noise_added(model: keras.Model, amount: float) -> keras.Model:
    """``model`` with Gaussian noise on its kernels, ``amount`` of each kernel's own deviation."""
    generator = np.random.default_rng(SEED)
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            kernel = np.asarray(weight)
            weight.assign(kernel + amount * kernel.std() * generator.standard_normal(kernel.shape))
    return model


MODELS: dict[str, Callable[[], tuple[keras.Model, Images, Labels]]] = {"resnet50": resnet50, "digits_cnn": digits_cnn}
CHANGES: dict[str, Callable[[keras.Model], keras.Model]] = {
    "resnet50_doubled": stage_doubled,
    "digits_cnn_slower": convolutions_added,
    "digits_cnn_noisy": lambda model: noise_added(model, 1.2),
}
#: ResNet-50's takes ten seconds, and is judged where the model is checked.
TELLS_ACCURACY = {"digits_cnn"}


def write_onnx(model: keras.Model, folder: Path) -> None:
    """ResNet-50 as an ONNX file, and beside it the one that does more work."""
    layers = {layer.name: layer.get_weights() for layer in model.layers}
    onnx.save(ResNet50(layers).model(), folder / "resnet50.onnx")
    onnx.save(ResNet50(layers, repeated=True).model(), folder / "resnet50_doubled.onnx")


def make(recipe: str, folder: Path, original: Path | None) -> None:
    """Write the model of ``recipe`` into ``folder``; a change needs the folder of its original."""
    print("TensorFlow builds it", flush=True)
    keras.utils.set_random_seed(SEED)
    if original is None:
        model, images, labels = MODELS[recipe]()
        model.save(folder / f"{recipe}.keras")
        np.savez_compressed(folder / "val.npz", images=images, labels=labels)
    else:
        (saved,) = original.glob("*.keras")
        model = CHANGES[recipe](keras.models.load_model(saved, compile=False))
    print("it is written as a SavedModel", flush=True)
    model.export(folder / recipe, verbose=False)
    if recipe == "resnet50":
        print("it is written as an ONNX file", flush=True)
        write_onnx(model, folder)
    if recipe in TELLS_ACCURACY:
        answers = model.predict(normalise(images), verbose=0)
        facts = {"accuracy": float(np.mean(answers.argmax(axis=1) == labels))}
        (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
