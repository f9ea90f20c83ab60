from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.models.zoo import run_recipe

if TYPE_CHECKING:
    from tests.models.zoo import Zoo


@pytest.mark.parametrize(("recipe", "least"), [("resnet50", 0.9), ("digits_cnn", 0.95)])
def test_the_models_have_learnt_something(zoo: Zoo, recipe: str, least: float) -> None:
    assert zoo.accuracy(recipe) > least
    inputs, labels = zoo.validation(recipe)
    assert len(inputs) == len(labels) >= 128
    assert set(labels) == set(range(10))


def test_no_framework_enters_the_process_of_the_tests(zoo: Zoo) -> None:
    assert (zoo.saved_model("digits_cnn_slower") / "saved_model.pb").is_file()
    assert zoo.keras_file("digits_cnn").is_file()
    assert not {"tensorflow", "keras"} & set(sys.modules)


def test_a_recipe_that_fails_says_why(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"tests\.models\.recipes soup .* ended with status 1:[^$]*KeyError: 'soup'"):
        run_recipe("soup", tmp_path, None)
