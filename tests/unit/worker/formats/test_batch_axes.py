from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.accelerator import Tensor
from pytest_accel.worker.formats.batch_axes import (
    Ends,
    axes_of,
    ends_of,
    keep_axes,
    keep_signature,
    kept_axes,
    kept_signature,
    unfit,
    with_axes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_accel.worker.formats.batch_axes import Axes, Dims

VAD = Ends([["N", 160], [2, "N", 16], []], [["N", 1], [2, "N", 16]])
VAD_WITHOUT_NAMES = Ends([[None, 160], [2, None, 16], []], [[None, 1], [2, None, 16]])
VAD_OF_ONE = Ends([[1, 160], [2, 1, 16], []], [[1, 1], [2, 1, 16]])


@pytest.mark.parametrize(
    ("inputs", "outputs", "axes"),
    [
        ([["N", 3, "H", "W"]], [["N", 10]], [0]),
        ([[None, 3, None, None]], [[None, 10]], [0]),
        ([["batch", "seq"], ["batch", "seq"]], [["batch", 2]], [0, 0]),
        ([["p", "q"]], [["p", 2]], [0]),
        (*VAD, [0, 1, None]),
        (*VAD_WITHOUT_NAMES, [0, 1, None]),
        (*VAD_OF_ONE, [0, 1, None]),
        ([["T", "N", 8]], [["T", "N", 16]], [1]),
        ([["seq", "D", 8], [1, "D", 16]], [["seq", "D", 16]], [1, 1]),
        ([[5, None, 4]], [[5, None, 8]], [1]),
        ([[5, 1, 4]], [[1, 8]], [1]),
        ([[5, 1, 4]], [[5, 1, 8], [1, 1, 8]], [1]),
        ([[4, 1, 28, 28]], [[4, 1, 28, 28]], [0]),
        ([["batch_size", "seq"], ["seq"]], [["batch_size", 2]], [0, None]),
        ([["rows", "words"], ["words"]], [["rows", 2]], [0, None]),
        ([[None, 4], [9, 4]], [[None, 9]], [0, None]),
        ([["encoder_batch", 4], ["decoder_batch", 4]], [["decoder_batch", 2]], [0, 0]),
        ([[1, "seq"]], [[1, "seq", 3]], [0]),
        ([[1, "dim_1"]], [[1, "dim_1", 3]], [0]),
        ([[1, None]], [[1, None, 3]], [0]),
        ([[1, 6]], [[50, 3]], [0]),
        ([[1024, 3]], [[40]], [None]),
        ([["seq", 8]], [["seq", 8]], [None]),
        ([[]], [[]], [None]),
    ],
)
def test_the_batch_of_each_input_is_read_off_the_signature(inputs: list[Dims], outputs: list[Dims], axes: Axes) -> None:
    assert axes_of(Ends(inputs, outputs), 1)[0] == axes


@pytest.mark.parametrize("ends", [VAD, VAD_WITHOUT_NAMES, VAD_OF_ONE])
def test_the_batch_of_an_output_too(ends: Ends) -> None:
    assert axes_of(ends, 1)[1] == [0, 1]


def test_an_output_with_a_free_size_of_another_name_has_no_batch() -> None:
    assert axes_of(Ends([["N", 8]], [["K", 2], ["N", "K"], [50, 3], ["my_batch", 3]]), 1)[1] == [None, 0, None, 0]


def test_an_output_of_a_fixed_model_that_does_not_begin_with_the_batch_has_none() -> None:
    assert axes_of(Ends([[1, 6]], [[50, 3], [1, 50, 3], []]), 1)[1] == [None, 0, None]


@pytest.mark.parametrize(
    ("ends", "batch_size", "says"),
    [
        (VAD, 7, ""),
        (VAD_WITHOUT_NAMES, 2, ""),
        (VAD_OF_ONE, 1, ""),
        (Ends([[4, 8]], [[4, 3]]), 4, ""),
        (Ends([[5, 1, 4]], [[5, 1, 8]]), 1, ""),
        (Ends([[5, 1, 4]], [[5, 1, 8]]), 5, ""),
        (Ends([[4, 1, 28, 28]], [[4, 1, 28, 28]]), 1, "input 'x' was exported for batches of 4: ask for batch_size=4"),
        (Ends([[1024, 3]], [[40]]), 1, ""),
        (Ends([[4, 8]], [[4, 3]]), 1, "input 'x' was exported for batches of 4: ask for batch_size=4, or export"),
        (Ends([[1, 8]], [[1, 3]]), 4, "input 'x' was exported for batches of 1: ask for batch_size=1, or export"),
        (VAD_OF_ONE, 2, "input 'x' has the shape [1, 160] and no dimension of 2: ask for batch_size=1, or export"),
        (Ends([[1024, 3]], [[40]]), 8, "input 'x' has the shape [1024, 3] and no dimension of 8: ask for batch_size=1"),
    ],
)
def test_a_batch_that_the_model_cannot_take_is_refused_with_one_that_it_can(
    ends: Ends, batch_size: int, says: str
) -> None:
    why = unfit(ends, ["x", "state", "rate"], batch_size)
    assert why.startswith(says)
    assert bool(why) == bool(says)


def test_what_a_conversion_has_kept_is_read_beside_the_model(tmp_path: Path) -> None:
    model = str(tmp_path / "model.onnx")
    assert kept_signature(model, VAD_OF_ONE) == VAD_OF_ONE
    keep_signature(VAD, str(tmp_path))
    assert kept_signature(model, VAD_OF_ONE) == VAD
    of_another = Ends([[1, 2]], [[1, 2]])
    assert kept_signature(model, of_another) == of_another


def test_an_artefact_tells_its_axes_and_an_older_one_has_the_batch_first(tmp_path: Path) -> None:
    assert kept_axes(str(tmp_path), VAD_OF_ONE) == ([0, 0, None], [0, 0])
    keep_axes(axes_of(VAD, 1), str(tmp_path))
    assert kept_axes(str(tmp_path), VAD_OF_ONE) == ([0, 1, None], [0, 1])


def test_tensors_are_given_their_axes() -> None:
    sides = [Tensor("state", "float32", (2, None, 4))], [Tensor("y", "float32", ())]
    assert ends_of(*sides) == Ends([(2, None, 4)], [()])
    (state,), (y,) = with_axes(sides, ([1], [None]))
    assert (state.batch_axis, y.batch_axis) == (1, None)
