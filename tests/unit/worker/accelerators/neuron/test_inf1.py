from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.worker.accelerator import Present, Refused
from pytest_accel.worker.accelerators.neuron.inf1 import Inf1


def options(**changes: Any) -> dict[str, Any]:
    return {**{name: option.default for name, option in Inf1.options().items()}, **changes}


@pytest.mark.parametrize(
    ("precision", "cast", "flag"),
    [
        ("bf16", "all", "all"),
        ("bf16", "matmult", "matmult-bf16"),
        ("fp16", "all", "all-fp16"),
        ("fp16", "matmult", "matmult-fp16"),
    ],
)
def test_precision_and_cast_make_the_compilers_flag(precision: str, cast: str, flag: str) -> None:
    flags = Inf1.compiler_flags(options(precision=precision, fp32_cast=cast, neuroncores=4))
    assert flags == ["--neuroncore-pipeline-cores=4", f"--fp32-cast={flag}"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"neuroncores": 2, "data_parallel": 2, "batch_size": 8}, "the runtime copies no pipeline"),
        ({"data_parallel": 5, "batch_size": 8, "dynamic_batch": True, "compiled_batch": 1}, "one chip's 4 cores"),
        ({"data_parallel": 4, "batch_size": 8}, "cannot keep 4 copies busy: set dynamic_batch=True and a smaller"),
        ({"data_parallel": 4, "batch_size": 8, "dynamic_batch": True, "compiled_batch": 4}, "cannot keep 4 copies"),
        ({"batch_size": 8, "compiled_batch": 4}, "set dynamic_batch=True, or leave it out"),
        ({"batch_size": 2, "dynamic_batch": True, "compiled_batch": 4}, "is more than a call has: batch_size=2"),
    ],
)
def test_what_can_never_work_is_told_at_collection(changes: dict[str, Any], why: str) -> None:
    told = Inf1.impossible(options(**changes))
    assert told is not None
    assert why in told


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": 5},
        {"neuroncores": 16, "batch_size": 2},
        {"data_parallel": 4, "batch_size": 8, "dynamic_batch": True, "compiled_batch": 2},
        {"batch_size": 10, "dynamic_batch": True, "compiled_batch": 1},
    ],
)
def test_what_can_work_is_left_to_the_compiler(changes: dict[str, Any]) -> None:
    assert Inf1.impossible(options(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "count"), [({}, 1), ({"neuroncores": 4}, 4), ({"data_parallel": 3}, 3), ({"core_group": 2}, 1)]
)
def test_a_process_sees_the_cores_of_its_pipeline_or_of_its_copies(changes: dict[str, Any], count: int) -> None:
    assert Inf1.visible_cores(options(**changes)) == count


@pytest.mark.parametrize(("free", "lacks"), [(3, True), (4, False), (None, False)])
def test_a_variant_that_needs_more_cores_than_there_are_is_known_beforehand(free: int | None, lacks: bool) -> None:
    lacking = Inf1.lacking(Present("AWS Inferentia", {}, cores=free), options(neuroncores=2, core_group=1))
    assert (lacking is not None) == lacks
    if lacking is not None:
        assert (lacking.kind, lacking.reason) == (
            "too-few-cores",
            "this variant needs 4 NeuronCores, and 3 may be taken here",
        )


def test_calls_that_would_return_before_the_device_is_done_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS": "4"})
    with pytest.raises(Refused, match="MAX_INFLIGHT_REQUESTS is set, so that a call would return before its work is"):
        Inf1().load("/artefact", options())
