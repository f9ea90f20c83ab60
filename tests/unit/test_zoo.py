from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_accel.facts.progress import Silence
from tests.models.zoo import ROOT, run_recipe

if TYPE_CHECKING:
    from tests.models.zoo import Zoo


def test_every_folder_of_tests_is_run_by_somebody(pytestconfig: pytest.Config) -> None:
    """What is in no testpath would never run, but for the first run, which is a command of its own."""
    folders = {path.relative_to(ROOT).parts[1] for path in (ROOT / "tests").rglob("test_*.py")} - {"examples"}
    listed = {Path(path).parts[1] for path in pytestconfig.getini("testpaths")}
    assert folders - listed == {"first_run"}


@pytest.mark.parametrize("recipe", ["resnet50", "digits_cnn"])
def test_every_digit_is_among_the_validation_data(zoo: Zoo, recipe: str) -> None:
    inputs, labels = zoo.validation(recipe)
    assert len(inputs) == len(labels) >= 128
    assert set(labels) == set(range(10))


def test_no_framework_enters_the_process_of_the_tests(zoo: Zoo) -> None:
    assert (zoo.saved_model("digits_cnn_slower") / "saved_model.pb").is_file()
    assert zoo.keras_file("digits_cnn").is_file()
    assert not {"tensorflow", "keras"} & set(sys.modules)


def test_a_recipe_that_fails_says_why(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"tests\.models\.recipes soup .* ended with status 1:[^$]*KeyError: 'soup'"):
        run_recipe("soup", tmp_path, None, Silence())
