from __future__ import annotations

import numpy as np
import pytest

from pytest_accel.facts.errors import DatasetError
from pytest_accel.facts.records import Signature, TensorSpec
from pytest_accel.inputs.calibration import Calibration, choose
from pytest_accel.inputs.datasets import open_dataset

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 2)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 2)),),
)
DATA = np.arange(40, dtype="float32").reshape(20, 2)


def chosen(samples: int = 5, batch_size: int = 2, **more: bool) -> Calibration:
    return choose(DATA, SIGNATURE, batch_size=batch_size, samples=samples, **more)


def rows_of(calibration: Calibration) -> list[list[float]]:
    rows: list[list[float]] = np.concatenate([batch["x"] for batch in calibration.batches]).tolist()
    return rows


def test_the_same_samples_are_chosen_every_time_and_in_whatever_batches_they_come() -> None:
    batched = choose([DATA[:7], DATA[7:]], SIGNATURE, batch_size=2, samples=5)
    assert chosen().digest == chosen().digest == batched.digest


def test_samples_are_of_the_data_distinct_and_not_just_the_first() -> None:
    rows = rows_of(chosen(samples=10, batch_size=1))
    assert len({tuple(row) for row in rows}) == 10
    assert all(row in DATA.tolist() for row in rows)
    assert rows != DATA[:10].tolist()


def test_batches_have_the_compiled_size_and_the_last_is_filled_with_real_samples() -> None:
    batches = chosen(samples=5, batch_size=4).batches
    assert [batch["x"].shape for batch in batches] == [(4, 2), (4, 2)]
    assert batches[1]["x"][1:].tolist() == batches[0]["x"][:3].tolist()


def test_fewer_samples_than_asked_for_are_all_taken() -> None:
    assert sorted(rows_of(chosen(samples=300, batch_size=1))) == DATA.tolist()


def test_other_samples_have_another_digest() -> None:
    assert chosen(samples=5).digest != chosen(samples=6).digest


def test_what_was_calibrated_with_is_no_exam() -> None:
    evaluation = open_dataset(DATA, SIGNATURE, batch_size=4)
    with pytest.raises(
        DatasetError, match=r"5 samples of the evaluation data were calibrated with, the first is row \d"
    ):
        chosen().require_disjoint(evaluation)


def test_an_overlap_may_be_allowed() -> None:
    chosen(may_overlap=True).require_disjoint(open_dataset(DATA, SIGNATURE, batch_size=4))


def test_other_samples_are_an_exam() -> None:
    chosen().require_disjoint(open_dataset(DATA + 1000, SIGNATURE, batch_size=3))


def test_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DatasetError, match="'x'"):
        choose(DATA.astype("float64"), SIGNATURE, batch_size=1)


def test_samples_are_taken_and_put_together_where_the_batch_is() -> None:
    state = TensorSpec(name="state", dtype="float32", shape=(2, None, 1), batch_axis=1)
    gain = TensorSpec(name="gain", dtype="float32", shape=())
    model = Signature(inputs=(state, gain), outputs=())
    data = {"state": np.arange(10, dtype="float32").reshape(2, 5, 1), "gain": np.float32(3)}
    batches = choose(data, model, batch_size=2).batches
    assert [batch["state"].shape for batch in batches] == [(2, 2, 1)] * 3
    pairs = {tuple(batch["state"][:, at, 0]) for batch in batches for at in range(2)}
    assert pairs == {(at, at + 5.0) for at in range(5)}
    assert [float(batch["gain"]) for batch in batches] == [3.0] * 3
