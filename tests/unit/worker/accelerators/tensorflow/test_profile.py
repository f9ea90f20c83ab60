from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.worker.accelerators.tensorflow import profile
from pytest_accel.worker.timing.operators import Window


@pytest.mark.parametrize(
    ("event", "operator"),
    [
        ("StatefulPartitionedCall/net/dense-1/Relu:_FusedMatMul", ("net/dense-1/Relu", "_FusedMatMul")),
        ("StatefulPartitionedCall/StatefulPartitionedCall/Conv2D_1:Conv2D", ("Conv2D_1", "Conv2D")),
        ("scores:Softmax", ("scores", "Softmax")),
        ("ThreadpoolListener::Record", None),
        ("KernelAndDeviceFunc::Run", None),
        ("EagerLocalExecute: __inference_signature_wrapper_8", None),
        ("ExecutorDoneCallback", None),
    ],
)
def test_an_operator_is_told_from_functions_of_tensorflow(event: str, operator: tuple[str, str] | None) -> None:
    found = list(profile._executions([(event, 7, Window(1.0, 2.0))]))
    assert [(each.name, each.kind) for each in found] == ([operator] if operator else [])


def test_events_have_nanoseconds_from_the_time_of_their_line() -> None:
    event = SimpleNamespace(metadata_id=3, offset_ps=2_000_000, duration_ps=500_000)
    plane: Any = SimpleNamespace(
        event_metadata={3: SimpleNamespace(name="a:Relu")},
        lines=[SimpleNamespace(id=9, timestamp_ns=100, events=[event])],
    )
    assert list(profile._events(plane)) == [("a:Relu", 9, (2100.0, 2600.0))]


def test_a_tensorflow_that_cannot_read_its_own_records_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_SCHEMAS", ("tensorflow_of_no_release.xplane_pb2",))
    assert profile.operator_times(lambda _: None, [1], 3) is None
