from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_accel.facts.errors import DatasetError
from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.inputs.datasets import Dataset, open_dataset


def signature(**inputs: tuple[str, tuple[int | None, ...]]) -> Signature:
    specs = (TensorSpec(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in inputs.items())
    return Signature(inputs=tuple(specs), outputs=())


ONE = signature(image=("float32", (None, 2)))
TWO = signature(ids=("int32", (None, 3)), mask=("bool", (None, 3)))


def rows(count: int, *, start: int = 0) -> np.ndarray[Any, Any]:
    """Rows that tell their own number: row 5 is [5, 5]."""
    return np.arange(start, start + count, dtype=np.float32)[:, None].repeat(2, axis=1)


def seen(dataset: Dataset) -> list[float]:
    """The numbers of the real rows, in the order in which they came."""
    return [float(value) for batch in dataset for value in batch.inputs["image"][: batch.rows, 0]]


class TfDataset:
    """What `tf.data.Dataset` shows of itself to someone who does not import TensorFlow."""

    def __init__(self, *elements: Any) -> None:
        self.elements = elements

    def as_numpy_iterator(self) -> Iterator[Any]:
        return iter(self.elements)


class Tensor:
    """What a tensor of PyTorch that is still part of a graph, or on a device, shows to NumPy."""

    def __init__(self, values: np.ndarray[Any, Any], *, ready: bool = False) -> None:
        self.values = values
        self.shape, self.ndim = values.shape, values.ndim
        self.ready = ready

    def detach(self) -> Tensor:
        return Tensor(self.values)

    def cpu(self) -> Tensor:
        return Tensor(self.values, ready=True)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        if not self.ready:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self.values


class ByNumber:
    """What a map-style dataset of PyTorch shows of itself: elements by number, and no iterator."""

    def __init__(self, *elements: Any) -> None:
        self._elements = elements

    def __len__(self) -> int:
        return len(self._elements)

    def __getitem__(self, number: int) -> Any:
        return self._elements[number]


def by_generator() -> Iterator[Any]:
    yield rows(4), np.arange(4)
    yield rows(3, start=4), np.arange(4, 7)


class TestForms:
    @pytest.mark.parametrize(
        "data",
        [
            (rows(7), np.arange(7)),
            {"image": rows(7), "labels": np.arange(7)},
            {"x": rows(7), "y": np.arange(7)},
            ({"image": rows(7)}, list(range(7))),
            ((rows(7),), np.arange(7)),
            (rows(7), np.arange(7)[:, None]),
            [(rows(4), np.arange(4)), (rows(3, start=4), np.arange(4, 7))],
            TfDataset((rows(4), np.arange(4)), (rows(3, start=4), np.arange(4, 7))),
            TfDataset({"image": rows(7), "y": np.arange(7)}),
            by_generator,
            by_generator(),
            lambda: (rows(7), np.arange(7)),
            [rows(7), np.arange(7)],
            [rows(7), list(range(7))],
            [[rows(4), np.arange(4)], [rows(3, start=4), np.arange(4, 7)]],
            (Tensor(rows(7)), Tensor(np.arange(7))),
            [[Tensor(rows(4)), Tensor(np.arange(4))], [Tensor(rows(3, start=4)), Tensor(np.arange(4, 7))]],
            [(row, number) for number, row in enumerate(rows(7))],
            ((row, number) for number, row in enumerate(rows(7))),
            TfDataset(*((row, number) for number, row in enumerate(rows(7)))),
            lambda: ({"image": row, "y": number} for number, row in enumerate(rows(7))),
            ByNumber(*((row, number) for number, row in enumerate(rows(7)))),
            ByNumber(*((Tensor(row), Tensor(np.array(number))) for number, row in enumerate(rows(7)))),
            ByNumber(*({"image": row, "y": number} for number, row in enumerate(rows(7)))),
            ByNumber((rows(4), np.arange(4)), (rows(3, start=4), np.arange(4, 7))),
        ],
        ids=lambda data: type(data).__name__,
    )
    def test_every_form_of_one_content_gives_the_same_batches(self, data: Any) -> None:
        dataset = open_dataset(data, ONE, batch_size=3)
        batches = list(dataset)
        assert [batch.inputs["image"][:, 0].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
        assert [batch.rows for batch in batches] == [3, 3, 1]
        assert [label for batch in batches if batch.labels is not None for label in batch.labels] == list(range(7))
        assert dataset.samples == 7
        assert dataset.digest == open_dataset((rows(7), np.arange(7)), ONE, batch_size=1).digest

    @pytest.mark.parametrize(
        "data",
        [
            rows(5),
            (rows(5),),
            (rows(5), None),
            [rows(2), rows(3, start=2)],
            [rows(3), rows(2, start=3)],
            [[rows(2)], [rows(3, start=2)]],
            list(rows(5)),
            ByNumber(*rows(5)),
            ByNumber(*((row,) for row in rows(5))),
        ],
    )
    def test_inputs_alone_have_no_labels(self, data: Any) -> None:
        dataset = open_dataset(data, ONE, batch_size=2)
        assert seen(dataset) == [0, 1, 2, 3, 4]
        assert [batch.labels for batch in dataset] == [None, None, None]

    @pytest.mark.parametrize("with_labels", [False, True])
    @pytest.mark.parametrize(
        "form", [tuple, list, lambda pair: dict(zip(["mask", "ids"], reversed(pair), strict=True))]
    )
    def test_several_inputs_go_by_name_or_by_the_order_of_the_signature(self, form: Any, with_labels: bool) -> None:
        ids, mask = np.arange(12, dtype=np.int32).reshape(4, 3), np.eye(4, 3, dtype=bool)
        inputs = form([ids, mask])
        batch = next(iter(open_dataset((inputs, np.arange(4)) if with_labels else inputs, TWO, batch_size=4)))
        np.testing.assert_array_equal(batch.inputs["ids"], ids)
        np.testing.assert_array_equal(batch.inputs["mask"], mask)
        assert (batch.labels is not None) is with_labels

    @pytest.mark.parametrize("form", [tuple, list])
    @pytest.mark.parametrize("around", [lambda batch: batch, lambda batch: iter([batch])], ids=["alone", "iterable"])
    def test_labels_may_follow_several_inputs(self, form: Any, around: Any) -> None:
        element = form([np.ones((4, 3), np.int32), np.eye(4, 3, dtype=bool), np.arange(4)])
        (batch,) = open_dataset(around(element), TWO, batch_size=4)
        assert batch.labels is not None
        assert batch.labels.tolist() == [0, 1, 2, 3]
        np.testing.assert_array_equal(batch.inputs["mask"], np.eye(4, 3, dtype=bool))

    def test_two_samples_are_no_inputs_and_labels(self) -> None:
        dataset = open_dataset(list(rows(2)), ONE, batch_size=2)
        assert seen(dataset) == [0, 1]
        assert [batch.labels for batch in dataset] == [None]

    def test_an_npz_file_names_its_arrays_after_the_inputs(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "val.npz", image=rows(4), labels=np.arange(4))
        dataset = open_dataset(tmp_path / "val.npz", ONE, batch_size=4)
        assert seen(dataset) == [0, 1, 2, 3]
        assert dataset.digest == open_dataset((rows(4), np.arange(4)), ONE, batch_size=4).digest

    def test_an_input_named_y_is_an_input(self) -> None:
        dataset = open_dataset({"y": rows(2)}, signature(y=("float32", (None, 2))), batch_size=2)
        assert next(iter(dataset)).labels is None

    def test_one_value_per_row_and_big_endian_bytes(self) -> None:
        dataset = open_dataset(np.arange(3, dtype=">f4"), signature(image=("float32", (None,))), batch_size=2)
        first, last = list(dataset)
        assert (first.inputs["image"].dtype.byteorder, last.inputs["image"].tolist()) == ("=", [2, 2])

    def test_an_input_without_a_batch_dimension_is_the_same_in_every_row_of_a_call(self) -> None:
        with_gain = signature(image=("float32", (None, 2)), gain=("float32", ()))
        data = [{"image": rows(3), "gain": np.float32(2)}, {"image": rows(2), "gain": np.float32(2)}]
        dataset = open_dataset(data, with_gain, batch_size=2)
        assert [float(batch.inputs["gain"]) for batch in dataset] == [2, 2, 2]
        whole = {"image": np.concatenate([rows(3), rows(2)]), "gain": np.float32(2)}
        assert dataset.digest == open_dataset(whole, with_gain, batch_size=2).digest
        data[1]["gain"] = np.float32(3)
        with pytest.raises(
            DatasetError, match=r"'gain' has no batch dimension, and rows with .* a call: use batch_size=1"
        ):
            list(open_dataset(data, with_gain, batch_size=2))
        alone = open_dataset(data, with_gain, batch_size=1)
        assert [float(batch.inputs["gain"]) for batch in alone] == [2, 2, 2, 3, 3]
        early = alone.in_batches_of(4)
        assert [(batch.rows, float(batch.inputs["gain"])) for batch in early] == [(3, 2), (2, 3)]

    def test_the_digest_knows_from_which_row_on_such_an_input_is_another(self) -> None:
        call = signature(gain=("float32", ()))

        def digest(*gains: float) -> str:
            return open_dataset([{"gain": np.float32(gain)} for gain in gains], call, batch_size=1).digest

        assert len({digest(1, 1, 2), digest(1, 2, 2), digest(1, 2), digest(1, 1, 1)}) == 4

    def test_the_batch_may_be_another_dimension_than_the_first(self) -> None:
        model = Signature(
            inputs=(
                TensorSpec(name="audio", dtype="float32", shape=(None, 3)),
                TensorSpec(name="state", dtype="float32", shape=(2, None, 1), batch_axis=1),
            ),
            outputs=(),
        )
        audio, state = np.zeros((5, 3), np.float32), np.arange(10, dtype=np.float32).reshape(2, 5, 1)
        dataset = open_dataset(({"audio": audio, "state": state}, np.arange(5)), model, batch_size=2)
        assert [batch.inputs["state"][:, :, 0].tolist() for batch in dataset] == [
            [[0, 1], [5, 6]],
            [[2, 3], [7, 8]],
            [[4, 4], [9, 9]],
        ]
        parts = [({"audio": audio[at : at + 1], "state": state[:, at : at + 1]}, np.array([at])) for at in range(5)]
        assert open_dataset(parts, model, batch_size=1).digest == dataset.digest
        with pytest.raises(DatasetError, match=r"'state' expects the shape \(2, batch, 1\) and got \(3, 5, 1\)"):
            list(open_dataset({"audio": audio, "state": np.zeros((3, 5, 1), np.float32)}, model, batch_size=1))

    def test_a_model_without_a_batch_takes_one_array_a_call(self) -> None:
        spec = TensorSpec(name="points", dtype="float32", shape=(7, 3), batch_axis=None)
        model, clouds = Signature(inputs=(spec,), outputs=()), np.zeros((4, 7, 3), np.float32)
        dataset = open_dataset(list(clouds), model, batch_size=1)
        assert [batch.inputs["points"].shape for batch in dataset] == [(7, 3)] * 4
        assert dataset.samples == 4
        with pytest.raises(DatasetError, match=r"expects the shape \(7, 3\) .*: it has no batch, so pass a list"):
            list(open_dataset(clouds, model, batch_size=1))

    @pytest.mark.parametrize("value", [np.nan, -np.inf])
    def test_what_is_missing_or_masked_is_data(self, value: float) -> None:
        masked = rows(4)
        masked[2:, 1] = value
        dataset = open_dataset(masked, ONE, batch_size=2)
        assert np.array_equal(list(dataset)[1].inputs["image"], masked[2:], equal_nan=True)

    def test_a_dynamic_dimension_takes_any_size_but_not_two_in_one_batch(self) -> None:
        text = signature(image=("float32", (None, None)))
        data = [np.ones((1, 4), np.float32), np.ones((1, 6), np.float32)]
        assert [batch.inputs["image"].shape for batch in open_dataset(data, text, batch_size=1)] == [(1, 4), (1, 6)]
        with pytest.raises(DatasetError, match=r"rows of shape \(4,\) and of shape \(6,\).*use batch_size=1"):
            list(open_dataset(data, text, batch_size=2))


class TestPasses:
    def test_an_iterable_is_streamed(self) -> None:
        taken: list[int] = []

        def stream() -> Iterator[Any]:
            for start in range(0, 100, 2):
                taken.append(start)
                yield rows(2, start=start)

        next(iter(open_dataset(stream, ONE, batch_size=4)))
        assert taken == [0, 2]

    def test_a_one_shot_iterator_can_be_read_twice(self) -> None:
        dataset = open_dataset(by_generator(), ONE, batch_size=2)
        assert seen(dataset) == seen(dataset) == list(range(7))

    def test_a_dataset_that_is_shuffled_anew_is_refused(self) -> None:
        order = iter([[0, 1], [1, 0]])
        dataset = open_dataset(lambda: iter([rows(2)[next(order)]]), ONE, batch_size=2)
        list(dataset)
        with pytest.raises(DatasetError, match=r"changed from one pass to the next.*reshuffle_each_iteration=False"):
            list(dataset)

    @given(cuts=st.lists(st.integers(0, 12), max_size=4), batch_size=st.integers(1, 9))
    def test_rows_and_digest_do_not_depend_on_how_they_were_batched(self, cuts: list[int], batch_size: int) -> None:
        borders = [0, *sorted(cuts), 12]
        parts = [
            (rows(stop - start, start=start), np.arange(start, stop)) for start, stop in itertools.pairwise(borders)
        ]
        dataset = open_dataset(parts, ONE, batch_size=batch_size)
        whole = open_dataset((rows(12), np.arange(12)), ONE, batch_size=12)
        assert seen(dataset) == list(range(12))
        assert dataset.digest == whole.digest
        for batch in dataset:
            assert len(batch.inputs["image"]) == batch_size
            real = batch.inputs["image"][: batch.rows, 0].tolist()
            assert set(batch.inputs["image"][:, 0]) == set(real)  # padding repeats real rows

    @pytest.mark.parametrize(
        "other",
        [
            (rows(4)[::-1], np.arange(4)),
            (rows(4), np.arange(4)[::-1]),
            (rows(4), None),
            (rows(3), np.arange(3)),
            (rows(4), np.arange(4, dtype=np.int32)),
        ],
        ids=["order", "labels", "no labels", "fewer", "dtype of labels"],
    )
    def test_the_digest_tells_other_contents_apart(self, other: Any) -> None:
        digest = open_dataset((rows(4), np.arange(4)), ONE, batch_size=2).digest
        assert digest != open_dataset(other, ONE, batch_size=2).digest

    def test_the_digest_tells_shapes_and_names_apart(self) -> None:
        data = np.arange(12, dtype=np.float32)
        specs = [("a", (None, 3)), ("a", (None, 3, 1)), ("b", (None, 3))]
        digests = {
            open_dataset(data.reshape(4, *shape[1:]), signature(**{name: ("float32", shape)}), batch_size=2).digest
            for name, shape in specs
        }
        assert len(digests) == 3


class TestMisfits:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (rows(2).astype(np.float64), r"'image' expects float32 and got float64.*array.astype\(np.float32\)"),
            (np.ones((2, 3), np.float32), r"'image' expects the shape \(batch, 2\) and got \(2, 3\)"),
            (np.ones(2, np.float32), r"got \(2,\): the batch dimension is missing"),
            (np.array([["a", "b"]]), "'image' expects float32 and got strings or objects"),
            (rows(0), "the dataset has no rows"),
            ([], "the dataset has no rows"),
            ((rows(3), np.arange(2)), "different numbers of rows: input 'image' 3, labels 2"),
            ((rows(2), np.array(["cat", "dog"])), "labels are strings"),
            ((rows(2), 5), "labels are a single number"),
            ({"imge": rows(2)}, "no input 'imge': did you mean 'image'"),
            ({"image": rows(2), "y": np.arange(2), "labels": np.arange(2)}, "both labels and y"),
            ((rows(2), rows(2), rows(2)), "gives 3 inputs and the model takes 1: image"),
            ([(rows(2), np.arange(2)), rows(1)], "some batches have labels and some have none, from row 2 on"),
            (7, "cannot read a dataset from int: pass"),
            ([rows(2), rows(2), np.arange(2)], "'image' expects float32 and got int64"),
            ([rows(2), rows(2), rows(2)[0]], r"got \(2,\): the batch dimension is missing"),
            ([np.float32(1), np.float32(2)], r"got \(\)"),
            (ByNumber(), "the dataset has no rows"),
            ((rows(2), [[0], [1, 2]]), "'labels' cannot be read as an array"),
        ],
    )
    def test_each_is_an_error_that_names_the_fix(self, data: Any, message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            list(open_dataset(data, ONE, batch_size=2))

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (np.ones((2, 3), np.int32), "gives one array and the model takes 2 inputs: pass a dict with ids, mask"),
            ({"ids": np.ones((2, 3), np.int32)}, "lacks the input 'mask'; it has ids"),
            (
                (np.ones((2, 3), np.int32), np.ones((3, 3), bool)),
                "different numbers of rows: input 'ids' 2, input 'mask' 3",
            ),
        ],
    )
    def test_several_inputs(self, data: Any, message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            list(open_dataset(data, TWO, batch_size=2))

    def test_a_batch_size_other_than_the_compiled_one(self) -> None:
        with pytest.raises(DatasetError, match="compiled for batches of 5, and batch_size is 2: use batch_size=5"):
            open_dataset(rows(5), signature(image=("float32", (5, 2))), batch_size=2)

    def test_a_model_that_takes_strings(self) -> None:
        with pytest.raises(DatasetError, match="input 'text' takes strings"):
            open_dataset(None, signature(text=("string", (None,))), batch_size=1)

    @pytest.mark.parametrize("data", [None, rows(2)])
    def test_a_model_that_takes_a_type_that_numpy_does_not_have(self, data: Any) -> None:
        with pytest.raises(DatasetError, match=r"'image' takes bfloat16, which NumPy does not have: .* cast inside"):
            open_dataset(data, signature(image=("bfloat16", (None, 2))), batch_size=1)

    def test_files_that_are_no_npz(self, tmp_path: Path) -> None:
        (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
        np.savez(tmp_path / "objects.npz", image=np.array([{}], dtype=object), allow_pickle=True)
        np.savez(tmp_path / "nothing.npz")
        (tmp_path / "empty.npz").touch()
        np.save(tmp_path / "one.npy", rows(4))
        (tmp_path / "one.npy").rename(tmp_path / "npy.npz")
        (tmp_path / "folder.npz").mkdir()
        os.mkfifo(tmp_path / "fifo.npz")
        np.savez(tmp_path / "val.npz", image=rows(400))
        whole = (tmp_path / "val.npz").read_bytes()
        (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "header.npz").write_bytes(whole.replace(b"{'descr': '<f4'", b"{'descr': '(((("))
        for name, message in {
            "missing.npz": "missing.npz: no such file",
            "val.csv": "has to be an .npz",
            "bad.npz": "not a readable .npz",
            "objects.npz": "not a readable .npz",
            "nothing.npz": "the dataset lacks the input 'image'",
            "empty.npz": "not a readable .npz file: No data left in file",
            "npy.npz": "not a readable .npz",
            "folder.npz": "not a readable .npz file: it is no regular file",
            "fifo.npz": "not a readable .npz file: it is no regular file",
            "cut.npz": "not a readable .npz",
            "header.npz": "not a readable .npz",
        }.items():
            with pytest.raises(DatasetError, match=message):
                list(open_dataset(tmp_path / name, ONE, batch_size=1))

    @pytest.mark.parametrize("returned", [None, 7])
    def test_a_function_that_returns_no_dataset_is_named(self, returned: object) -> None:
        def validation() -> object:
            return returned

        with pytest.raises(DatasetError, match=r"the dataset function .*validation returned (NoneType|int): it has to"):
            list(open_dataset(validation, ONE, batch_size=1))
