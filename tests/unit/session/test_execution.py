from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_accel.facts.errors import WorkerError
from pytest_accel.session.execution import ExecutionCount
from pytest_accel.testing import FakeAccelerator

if TYPE_CHECKING:
    from tests.unit.conftest import Workshop

NOT_PROVEN = "fake: that the calls ran on the device is not proven, because "


@pytest.fixture
def device_counts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the device tell these counts, one after the other."""

    def tell(*counts: int | None) -> None:
        told = iter(counts)
        monkeypatch.setattr(FakeAccelerator, "executions_counted", lambda _: next(told))

    return tell


def use_a_worker(workshop: Workshop) -> None:
    with workshop.session.fresh_client("fake"):
        pass


def test_as_many_as_were_made_are_the_proof(workshop: Workshop, device_counts: Callable[..., None]) -> None:
    device_counts(40, 45)
    count = ExecutionCount(workshop.session, "fake")
    use_a_worker(workshop)
    count.require(5)
    assert workshop.session.warnings == []


def test_fewer_than_were_made_came_from_elsewhere(workshop: Workshop, device_counts: Callable[..., None]) -> None:
    device_counts(40, 44)
    count = ExecutionCount(workshop.session, "fake")
    use_a_worker(workshop)
    with pytest.raises(WorkerError, match="NotExecuted: the device counted 4 executions and 5 at least were asked"):
        count.require(5)


@pytest.mark.parametrize("counts", [(None, None), (None, 5), (40, None)])
def test_a_device_that_does_not_count_proves_nothing(
    workshop: Workshop, device_counts: Callable[..., None], counts: tuple[int | None, int | None]
) -> None:
    device_counts(*counts)
    count = ExecutionCount(workshop.session, "fake")
    use_a_worker(workshop)
    count.require(5)
    assert workshop.session.warnings == [f"{NOT_PROVEN}the device does not tell how many executions it has made"]


def test_what_several_workers_made_together_proves_nothing(
    workshop: Workshop, device_counts: Callable[..., None]
) -> None:
    device_counts(40, 50)
    count = ExecutionCount(workshop.session, "fake")
    use_a_worker(workshop)
    use_a_worker(workshop)
    count.require(5)
    assert workshop.session.warnings == [
        f"{NOT_PROVEN}the device has counted the executions of several workers together"
    ]
