from __future__ import annotations

import numpy as np
import pytest

from pytest_accel.facts.errors import DatasetError
from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.inputs.datasets import Batch, open_dataset
from pytest_accel.inputs.synthetic import describe_made_up, synthetic


def signature(**inputs: tuple[str, tuple[int | None, ...]]) -> Signature:
    specs = (TensorSpec(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in inputs.items())
    return Signature(inputs=tuple(specs), outputs=())


ONE = signature(image=("float32", (None, 2)))
MIXED = signature(
    image=("float32", (None, 4, 4)),
    pixels=("uint8", (None, 600)),
    ids=("int64", (None, 50)),
    mask=("bool", (None, 8)),
    half=("float16", (None, 9)),
    step=("int32", ()),
    gain=("float32", ()),
    second=("float32", (None, 4, 4)),
)


def test_values_suit_their_dtype_and_are_never_all_zero() -> None:
    for batch in synthetic(MIXED, 2):
        assert {name: (value.dtype.name, value.shape) for name, value in batch.items()} == {
            "image": ("float32", (2, 4, 4)),
            "pixels": ("uint8", (2, 600)),
            "ids": ("int64", (2, 50)),
            "mask": ("bool", (2, 8)),
            "half": ("float16", (2, 9)),
            "step": ("int32", ()),
            "gain": ("float32", ()),
            "second": ("float32", (2, 4, 4)),
        }
        assert batch["image"].std() > 0.5
        assert (batch["pixels"].min(), batch["pixels"].max()) == (1, 255)
        assert (batch["ids"].min(), batch["ids"].max()) == (1, 9)
        assert batch["mask"].any()
        assert not batch["mask"].all()
        assert batch["step"] > 0
        assert not np.array_equal(batch["image"], batch["second"])


@pytest.mark.parametrize("name", [spec.name for spec in MIXED.inputs])
def test_batches_are_distinct(name: str) -> None:
    batches = synthetic(MIXED, 2, batches=4)
    distinct = {batch[name].tobytes() for batch in batches}
    assert len(distinct) == (2 if name == "mask" else 4)  # booleans have but two values to shift through


def test_the_seed_decides() -> None:
    first, again, other = (synthetic(ONE, 2, seed=seed)[0]["image"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_a_dataset_the_inputs_are_made_up() -> None:
    dataset = open_dataset(None, ONE, batch_size=3)
    batches: list[Batch] = list(dataset)
    assert [(batch.rows, batch.labels) for batch in batches] == [(3, None)] * 4
    assert dataset.digest == open_dataset(None, ONE, batch_size=3).digest


def test_dynamic_dimensions_need_the_option() -> None:
    dynamic = signature(image=("float32", (None, None, None, 3)))
    with pytest.raises(
        DatasetError, match=r"dynamic shape \(batch, \?, \?, 3\).*input_shapes={'image': \(16, 16, 3\)}"
    ):
        synthetic(dynamic, 1)
    assert synthetic(dynamic, 1, input_shapes={"image": (8, 9, 3)})[0]["image"].shape == (1, 8, 9, 3)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"image": (3,)}, r"'image' has the shape \(batch, 2\), not \(batch, 3\)"),
        ({"imgae": (2,)}, "no input 'imgae'; it takes image"),
    ],
)
def test_shapes_that_cannot_be(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(None, ONE, batch_size=1, input_shapes=shapes)


@pytest.mark.parametrize("dtype", ["complex64", "float8_unheard_of"])
def test_dtypes_nobody_can_make_up(dtype: str) -> None:
    with pytest.raises(DatasetError, match=f"cannot make up values of dtype {dtype}; pass a dataset"):
        synthetic(signature(image=(dtype, (None, 2))), 1)


@pytest.mark.parametrize("batch_size", [2**62, 2**64, 10**30])
def test_more_than_a_machine_holds_is_refused_in_words(batch_size: int) -> None:
    with pytest.raises(DatasetError, match=r"cannot be made up, 'image' of shape \(\d+, 2\): .*; ask for a smaller"):
        synthetic(signature(image=("float64", (None, 2))), batch_size)


def test_what_was_made_up_is_described_with_the_way_out() -> None:
    whole = "'pixels' of 1 to 255, 'ids' of 1 to 9, 'step' of 1 to 9"
    assert f"made up (whole numbers: {whole}): pass a dataset" in describe_made_up(MIXED)
    assert "made up (noise): pass a dataset" in describe_made_up(ONE)


def test_the_batch_is_where_the_model_has_it() -> None:
    state = TensorSpec(name="state", dtype="float32", shape=(2, None, None), batch_axis=1)
    cloud = TensorSpec(name="cloud", dtype="float32", shape=(None, 3), batch_axis=None)
    model = Signature(inputs=(state, cloud), outputs=())
    (batch,) = synthetic(model, 5, batches=1, input_shapes={"state": (2, 16), "cloud": (7, 3)})
    assert {name: value.shape for name, value in batch.items()} == {"state": (2, 5, 16), "cloud": (7, 3)}
    for shapes, message in {
        ((2, 16),): r"'cloud' has the dynamic shape \(\?, 3\).*input_shapes={'cloud': \(16, 3\)}",
        ((4, 16), (7, 3)): r"'state' has the shape \(2, batch, \?\), not \(4, batch, 16\)",
    }.items():
        with pytest.raises(DatasetError, match=message):
            synthetic(model, 5, input_shapes=dict(zip(("state", "cloud"), shapes, strict=False)))
