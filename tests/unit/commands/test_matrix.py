from __future__ import annotations

import pytest

from pytest_accel.commands.matrix import Job, jobs
from pytest_accel.facts.errors import UsageError


def test_each_accelerator_has_one_job_on_a_runner_of_its_name() -> None:
    assert jobs({"inf1": 1, "gpu-trt": 4}, {}) == [
        Job("gpu-trt", ("self-hosted", "gpu-trt"), 4),
        Job("inf1", ("self-hosted", "inf1"), 1),
    ]


def test_a_runner_has_the_labels_that_it_is_given() -> None:
    (job,) = jobs({"cpu": 2}, {"cpu": ("ubuntu-latest",)})
    assert job.runner == ("ubuntu-latest",)


def test_no_variant_no_job() -> None:
    assert jobs({}, {}) == []


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (
            {"gpu-trt": 1, "cpu": 1},
            "gpu_trt: no test asks for this accelerator, did you mean 'gpu-trt'? .*: cpu, gpu-trt",
        ),
        ({}, r"gpu_trt: no test asks for this accelerator\. They ask for: none at all"),
    ],
)
def test_a_runner_for_what_no_test_asks_for_is_an_error(variants: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        jobs(variants, {"gpu_trt": ("gpu",)})
