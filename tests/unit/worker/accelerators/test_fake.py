from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.testing import FakeAccelerator, FakeClock, fake_model
from pytest_accel.worker.accelerator import Missing, Target
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


def loaded(folder: Path, precision: str = "fp32", cores: int = 1, **script: Any) -> FakeAccelerator:
    fake_model(folder / "model.fake.json", **script)
    accelerator = FakeAccelerator()
    accelerator.load(str(folder), {"precision": precision, "batch_size": 1, "cores": cores})
    return accelerator


def batch(rows: int = 1) -> dict[str, np.ndarray]:
    return {"x": np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)}


def latencies_ms(accelerator: FakeAccelerator, calls: int) -> list[float]:
    times = [accelerator.clock()]
    for _ in range(calls):
        accelerator.infer(batch())
        accelerator.synchronize()
        times.append(accelerator.clock())
    return [(stop - start) / 1e6 for start, stop in pairwise(times)]


def test_a_fake_clock_stands_still() -> None:
    clock = FakeClock()
    assert clock() == clock() == 0
    clock.advance(1500.4)
    assert clock() == 1500


def test_latencies_follow_the_list_over_and_over(tmp_path: Path) -> None:
    assert latencies_ms(loaded(tmp_path, latency_ms=[1, 2]), 3) == [1, 2, 1]


def test_cores_share_the_work(tmp_path: Path) -> None:
    assert latencies_ms(loaded(tmp_path, latency_ms=4, cores=4), 1) == [1]


def test_noise_repeats_with_its_seed_and_is_lognormal(tmp_path: Path) -> None:
    once, again = (latencies_ms(loaded(tmp_path, noise=0.1), 400) for _ in range(2))
    assert once == again
    assert once != latencies_ms(loaded(tmp_path, noise=0.1, noise_seed=9), 400)
    logs = [math.log(latency) for latency in once]
    assert np.mean(logs) == pytest.approx(0.0, abs=0.02)
    assert np.std(logs) == pytest.approx(0.1, rel=0.1)


def test_shared_noise_cancels_between_two_sides_of_a_duet(tmp_path: Path) -> None:
    one = latencies_ms(loaded(tmp_path, latency_ms=1, shared_noise=0.5), 20)
    other = latencies_ms(loaded(tmp_path, latency_ms=3, shared_noise=0.5), 20)
    assert len(set(one)) == 20
    np.testing.assert_allclose(np.divide(other, one), 3, rtol=1e-5)


def test_a_drift_grows_with_every_call(tmp_path: Path) -> None:
    np.testing.assert_allclose(latencies_ms(loaded(tmp_path, drift=0.5), 3), [1.5, 2.0, 2.5])


def test_a_lying_device_never_waits(tmp_path: Path) -> None:
    assert latencies_ms(loaded(tmp_path, latency_ms=5, asynchronous=True), 1) == [5.001]
    assert latencies_ms(loaded(tmp_path, latency_ms=5, asynchronous=True, synchronize_lies=True), 1) == [0.001]


def test_outputs_do_not_depend_on_the_batch_they_are_in(tmp_path: Path) -> None:
    accelerator = loaded(tmp_path, output_noise=0.1)
    alone = [accelerator.infer({"x": row[np.newaxis]})["y"] for row in batch(3)["x"]]
    np.testing.assert_allclose(accelerator.infer(batch(3))["y"], np.concatenate(alone), rtol=1e-6)


def test_a_precision_may_differ(tmp_path: Path) -> None:
    script: dict[str, Any] = {"by_precision": {"int8": {"output_noise": 0.5, "latency_ms": 0.5}}}
    exact, rough = loaded(tmp_path, **script), loaded(tmp_path, "int8", **script)
    assert latencies_ms(rough, 1) == [0.5]
    assert 0 < np.abs(exact.infer(batch())["y"] - rough.infer(batch())["y"]).max() < 3


def test_outputs_can_be_what_came_in_and_can_break_their_promise(tmp_path: Path) -> None:
    assert loaded(tmp_path, identity=True).infer(batch())["y"].tolist() == [[0, 1, 2]]
    assert np.isnan(loaded(tmp_path, nan=True).infer(batch())["y"]).sum() == 1
    assert loaded(tmp_path, returned_shape=[3, 1]).infer(batch())["y"].shape == (3, 1)
    assert loaded(tmp_path, returned_dtype="float64").infer(batch())["y"].dtype == np.float64


def test_a_failure_waits_for_its_call(tmp_path: Path) -> None:
    accelerator = loaded(tmp_path, failures={"infer": {"how": "error", "at_call": 3}})
    latencies_ms(accelerator, 2)
    with pytest.raises(RuntimeError, match="scripted failure in infer"):
        accelerator.infer(batch())


def test_the_environment_scripts_what_is_told_before_there_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = '{"missing": {"kind": "busy", "reason": "in use", "action": "wait"}, "versions": {"driver": "7"}}'
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, missing)
    assert FakeAccelerator().probe() == Missing("busy", "in use", "wait")
    assert FakeAccelerator().versions() == {"driver": "7"}


def test_a_misspelt_key_is_named_with_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown 'latency'; the keys are .*latency_ms"):
        fake_model(tmp_path / "model.fake.json", latency=3)


def test_a_model_has_its_own_suffix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.fake\.json"):
        fake_model(tmp_path / "model.json")


def test_what_is_compiled_for_is_the_environments_and_the_placement_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_model(tmp_path / "model.fake.json", compiler_tells=True, on_device=0.5)
    options = {"precision": "fp32"}
    placement = FakeAccelerator().inspect(str(tmp_path), options).placement
    assert placement is not None
    assert placement.on_device == 0.5
    assert isinstance(FakeAccelerator().target(options), Missing)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, '{"target": "fake-1000"}')
    assert FakeAccelerator().target(options) == Target("fake-1000", {"fake-sdk": "1.0"})
    fake_model(tmp_path / "model.fake.json")
    assert FakeAccelerator().inspect(str(tmp_path), options).placement is None
