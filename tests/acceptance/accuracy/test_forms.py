"""Models of Keras and data of TensorFlow, in each form that a test may give them, are as accurate as they were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import Workplace

if TYPE_CHECKING:
    from tests.models.zoo import Zoo

FORMS = """
    import keras
    import numpy as np
    import pytest
    import tensorflow as tf

    FILE = {keras!r}

    def small_cnn():
        import keras

        return keras.models.load_model(FILE)

    def batches():
        with np.load("val.npz") as val:
            return tf.data.Dataset.from_tensor_slices((val["x"], val["labels"])).batch(32)

    on_cpu = pytest.mark.accelerator("cpu", batch_size=8)

    @on_cpu
    def test_keras_file(accel_model):
        accel_model(FILE).check("val.npz")

    @on_cpu
    def test_keras_model_in_memory(accel_model):
        accel_model(keras.models.load_model(FILE)).check("val.npz")

    @on_cpu
    def test_callable(accel_model):
        accel_model(small_cnn).check("val.npz")

    @on_cpu
    def test_tf_data_dataset(accel_model):
        accel_model(FILE).check(batches())
"""
#: NAMES has the name that each of them gives its model.
NAMES = {
    "keras_file": "digits_cnn",
    "keras_model_in_memory": "digits_cnn",
    "callable": "small_cnn",
    "tf_data_dataset": "digits_cnn",
}


@pytest.mark.slow
def test_each_form_of_models_and_data(zoo: Zoo, workplace: Workplace) -> None:
    workplace.write_data(zoo.validation("digits_cnn"))
    workplace.write_test(FORMS.format(keras=str(zoo.keras_file("digits_cnn"))))
    run = workplace.run("--accel-in-process")  # all forms are one by then, and TensorFlow is imported once
    named = {test.test.partition("::test_")[2].removesuffix("[cpu-b8]"): test.model for test in run.record.tests}
    assert named == NAMES, run.output
    for test in run.record.tests:
        assert [each.kind for each in test.verdicts if each.question == "accuracy"] == ["pass"]
        assert test.accuracy is not None
        assert (test.accuracy.samples, test.accuracy.flips_lost) == (450, 0)
        assert test.accuracy.top1 == pytest.approx(zoo.accuracy("digits_cnn"))
