from __future__ import annotations

import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.neuron.cores import Claim, Pool, cores_needed

VISIBLE, NUMBER = "NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, 4),
        ({VISIBLE: ""}, 4),
        ({VISIBLE: "2"}, 1),
        ({VISIBLE: "0-1"}, 2),
        ({VISIBLE: "0-1, 3"}, 3),
        ({VISIBLE: "0-7"}, 4),
        ({NUMBER: "0"}, 4),
        ({NUMBER: "3"}, 3),
        ({NUMBER: "1", VISIBLE: "0-1"}, 2),
    ],
)
def test_cores_that_somebody_has_named_are_the_pool(given: dict[str, str], size: int) -> None:
    assert Pool.of(given).size(on_machine=4) == size


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({VISIBLE: "all"}, "NEURON_RT_VISIBLE_CORES=all is no list of NeuronCores: write it like 0-3 or 0,1"),
        ({NUMBER: "-1"}, "NEURON_RT_NUM_CORES=-1 is no number of NeuronCores: set it to one, or unset it"),
    ],
)
def test_a_pool_that_cannot_be_understood_is_refused(given: dict[str, str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        Pool.of(given)


@pytest.mark.parametrize(
    ("given", "count", "group", "claimed"),
    [
        ({}, 1, None, {NUMBER: "1"}),
        ({}, 4, None, {NUMBER: "4"}),
        ({}, 1, 0, {VISIBLE: "0"}),
        ({}, 1, 2, {VISIBLE: "2"}),
        ({}, 4, 1, {VISIBLE: "4-7"}),
        ({NUMBER: "2"}, 1, None, {NUMBER: "1"}),
        ({NUMBER: "2"}, 1, 1, {VISIBLE: "1"}),
        ({VISIBLE: "4-7"}, 2, None, {VISIBLE: "4-5"}),
        ({VISIBLE: "4-7"}, 2, 1, {VISIBLE: "6-7"}),
        ({VISIBLE: "5,7"}, 1, 1, {VISIBLE: "7"}),
    ],
)
def test_cores_are_taken_from_the_pool(
    given: dict[str, str], count: int, group: int | None, claimed: dict[str, str]
) -> None:
    environment = dict(given)
    Claim(environment).take(count, group)
    assert environment == {**given, **claimed}


@pytest.mark.parametrize(
    ("given", "count", "group", "why"),
    [
        ({NUMBER: "2"}, 3, None, "3 NeuronCores cannot be had: NEURON_RT_NUM_CORES=2 allows fewer"),
        ({NUMBER: "2"}, 1, 2, "core_group=2 of 1 NeuronCores cannot be had: NEURON_RT_NUM_CORES=2 allows fewer"),
        ({VISIBLE: "0-1"}, 3, None, "3 NeuronCores cannot be had: NEURON_RT_VISIBLE_CORES=0-1 allows fewer"),
        ({VISIBLE: "0-1"}, 2, 1, "core_group=1 of 2 cannot be had: NEURON_RT_VISIBLE_CORES=0-1 allows fewer"),
        ({VISIBLE: "0,2"}, 2, None, "NEURON_RT_VISIBLE_CORES=0,2 has gaps, and the 2 cores .* of it are no range"),
    ],
)
def test_more_than_the_pool_has_is_refused(given: dict[str, str], count: int, group: int | None, why: str) -> None:
    environment = dict(given)
    with pytest.raises(Refused, match=why):
        Claim(environment).take(count, group)
    assert environment == given


def test_a_process_keeps_its_cores() -> None:
    environment: dict[str, str] = {}
    claim = Claim(environment)
    for _ in range(2):
        claim.take(2, None)
    with pytest.raises(Refused, match=r"VISIBLE_CORES=1 cannot be had, because this worker has NEURON_RT_NUM_CORES=2"):
        claim.take(1, 1)
    assert environment == {NUMBER: "2"}


@pytest.mark.parametrize(("count", "group", "needed"), [(1, None, 1), (4, None, 4), (4, 0, 4), (2, 3, 8)])
def test_a_group_needs_the_cores_before_it_too(count: int, group: int | None, needed: int) -> None:
    assert cores_needed(count, group) == needed
