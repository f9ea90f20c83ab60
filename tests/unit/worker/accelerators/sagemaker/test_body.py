from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest

from pytest_accel.worker.accelerator import Refused, Tensor
from pytest_accel.worker.accelerators.sagemaker.body import LIMIT_BYTES, UnfitAnswer, decoded, encoded

TWO = {"a": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), "b": np.array([5, 6])}
SCORES = [Tensor("scores", "float32", (None, 2))]
BOTH = [*SCORES, Tensor("best", "int64", (None,))]
JSON = "application/json"


def as_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("inputs", "form", "body"),
    [
        (TWO, "inputs", {"inputs": {"a": [[1, 2], [3, 4]], "b": [5, 6]}}),
        (TWO, "instances", {"instances": [{"a": [1, 2], "b": 5}, {"a": [3, 4], "b": 6}]}),
        ({"a": TWO["a"]}, "instances", {"instances": [[1, 2], [3, 4]]}),
    ],
)
def test_json_has_rows_or_columns_and_the_signature(inputs: dict[str, np.ndarray], form: str, body: object) -> None:
    assert json.loads(encoded(inputs, form, "classify")) == {"signature_name": "classify", **body}  # type: ignore[dict-item]


def test_json_keeps_every_digit_of_a_float32() -> None:
    numbers = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    rows = json.loads(encoded({"a": numbers}, "instances", "s"))["instances"]
    answer = decoded(json.dumps({"predictions": rows}).encode(), JSON, SCORES)
    np.testing.assert_array_equal(answer["scores"], numbers)


def test_npy_is_one_array_there_and_back() -> None:
    body = encoded({"a": TWO["a"]}, "npy", "s")
    np.testing.assert_array_equal(decoded(body, "application/x-npy", SCORES)["scores"], TWO["a"])


@pytest.mark.parametrize(
    ("inputs", "form", "why"),
    [
        (TWO, "npy", r"npy holds one array .* \['a', 'b'\]: ask for payload='inputs'"),
        ({**TWO, "b": np.array(5)}, "instances", "one batch in common, .*ask for payload='inputs'"),
        ({**TWO, "b": np.array([5])}, "instances", "one batch in common"),
    ],
)
def test_what_a_form_cannot_hold_is_refused_with_one_that_can(
    inputs: dict[str, np.ndarray], form: str, why: str
) -> None:
    with pytest.raises(Refused, match=why):
        encoded(inputs, form, "s")


def test_the_limit_is_the_last_size_that_is_sent() -> None:
    header = len(encoded({"a": np.zeros(0, np.uint8)}, "npy", "s"))
    fits = np.zeros(LIMIT_BYTES - header, np.uint8)
    assert len(encoded({"a": fits}, "npy", "s")) == LIMIT_BYTES
    with pytest.raises(Refused, match=re.escape("6,291,457 bytes")) as raised:
        encoded({"a": np.append(fits, np.uint8(0))}, "npy", "s")
    assert "payload=" not in str(raised.value), "npy is the shortest form already"


@pytest.mark.parametrize(
    "answer",
    [
        {"predictions": [{"scores": [1, 2], "best": 3}, {"scores": [4, 5], "best": 6}]},
        {"outputs": {"scores": [[1, 2], [4, 5]], "best": [3, 6]}},
    ],
)
def test_several_outputs_are_read_by_name_in_the_dtype_of_the_signature(answer: object) -> None:
    outputs = decoded(json.dumps(answer).encode(), JSON, BOTH)
    assert {name: array.dtype.name for name, array in outputs.items()} == {"scores": "float32", "best": "int64"}
    assert outputs["best"].tolist() == [3, 6]


@pytest.mark.parametrize(
    "answer", [{"outputs": [[1, 2]]}, {"outputs": {"scores": [[1, 2]]}}, {"predictions": [[1, 2]]}]
)
def test_a_single_output_may_have_no_name(answer: object) -> None:
    assert decoded(json.dumps(answer).encode(), JSON, SCORES)["scores"].tolist() == [[1.0, 2.0]]


def test_nan_comes_through_to_be_judged() -> None:
    assert np.isnan(decoded(b'{"predictions": [[NaN, 1.0]]}', JSON, SCORES)["scores"][0, 0])


@pytest.mark.parametrize(
    ("body", "outputs", "why"),
    [
        (b"<html>", SCORES, "cannot be read as JSON"),
        (b'{"error": "no"}', SCORES, r"neither predictions nor outputs: \{\"error\": \"no\"\}"),
        (b'{"predictions": []}', SCORES, "no rows"),
        (b'{"predictions": [[1, 2]]}', BOTH, r"one without a name, the model has \['scores', 'best'\]"),
        (b'{"predictions": [{"other": [1, 2]}]}', SCORES, r"\['other'\], the model has \['scores'\]: is it the same"),
        (b'{"predictions": [[1, 2, 3]]}', SCORES, r"float32\[1, 3\], the model's is float32\[None, 2\]"),
        (b'{"predictions": [["a", "b"]]}', SCORES, "is no float32 tensor"),
        (b'{"predictions": [[1, 2], [3]]}', SCORES, "is no float32 tensor"),
    ],
)
def test_an_answer_that_is_not_the_models_is_no_answer(body: bytes, outputs: list[Tensor], why: str) -> None:
    with pytest.raises(UnfitAnswer, match=why):
        decoded(body, JSON, outputs)


@pytest.mark.parametrize(
    ("body", "outputs", "why"),
    [
        (b"no array", SCORES, "cannot be read as npy"),
        (as_npy(np.ones((1, 2))), SCORES, r"float64\[1, 2\]"),
        (as_npy(np.ones((1, 2), np.float32)), BOTH, "holds one array"),
    ],
)
def test_npy_that_is_not_the_models_is_no_answer(body: bytes, outputs: list[Tensor], why: str) -> None:
    with pytest.raises(UnfitAnswer, match=why):
        decoded(body, "application/x-npy", outputs)
