from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_accel.worker import wire


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64", "complex64", ">f4"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_what_is_packed_comes_back_as_it_was(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    came = wire.unpack(wire.pack(array))
    assert came.dtype == array.dtype
    assert came.shape == shape
    np.testing.assert_array_equal(came, array)


def test_a_view_that_skips_and_turns_is_packed_in_order() -> None:
    array = np.arange(24).reshape(4, 6)[::-2, ::3].T
    np.testing.assert_array_equal(wire.unpack(wire.pack(array)), array)


def test_only_plain_data_crosses() -> None:
    packed = wire.pack(np.ones((2, 1), np.float32))
    assert packed == {"dtype": "<f4", "shape": [2, 1], "data": np.ones(2, np.float32).tobytes()}
    assert {type(size) for size in packed["shape"]} == {int}


@pytest.mark.parametrize("array", [np.array(["cat"]), np.array([b"cat"]), np.array([None]), np.zeros(1, "V2,i4")])
def test_an_array_without_numbers_is_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(wire.NotNumeric, match=r"'words' has dtype .*convert it to"):
        wire.pack_all({"words": array})


def test_a_batch_keeps_its_names() -> None:
    batch = {"a": np.zeros(2), "b": np.ones(3)}
    came = wire.unpack_all(wire.pack_all(batch))
    assert list(came) == ["a", "b"]
    np.testing.assert_array_equal(came["b"], batch["b"])


def test_half_a_character_becomes_an_escape_and_all_else_stays() -> None:
    plain = {"\udcff": ["caf\u00e9 \ud83d", ("x", 1, b"\xff", None)], "y": 1.5}
    assert wire.legible(plain) == {r"\udcff": [r"café \ud83d", ["x", 1, b"\xff", None]], "y": 1.5}


@pytest.mark.parametrize(
    ("dtype", "numeric"), [("float32", True), ("bool", True), ("bfloat16", False), ("int4", False)]
)
def test_the_types_of_numpy_are_known(dtype: str, numeric: bool) -> None:
    assert wire.is_numeric(dtype) is numeric


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_floats_that_numpy_does_not_have_are_sent_as_the_same_values_in_float32(dtype: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    came = wire.unpack(wire.pack(np.array([0.5, -3.0], getattr(ml_dtypes, dtype))))
    assert came.dtype == np.float32
    assert came.tolist() == [0.5, -3.0]


def test_a_worker_reads_a_large_array_from_a_file_and_a_controller_does_not(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    (tmp_path / "array").write_bytes(array.tobytes())
    packed = {"dtype": "<i4", "shape": [2, 3], "path": str(tmp_path / "array")}
    np.testing.assert_array_equal(wire.received_all({"x": packed, "y": wire.pack(array)})["x"], array)
    with pytest.raises(KeyError):
        wire.unpack_all({"x": packed})
