from __future__ import annotations

from types import SimpleNamespace

from pytest_accel.worker.accelerators.pytorch import profile
from pytest_accel.worker.timing.operators import Execution


def event(name: str, begin_us: float, end_us: float, around: SimpleNamespace | None = None) -> SimpleNamespace:
    """An event as PyTorch's profiler gives it, with what is read of it."""
    times = SimpleNamespace(start=begin_us, end=end_us)
    return SimpleNamespace(name=name, time_range=times, thread=1, cpu_parent=around)


def test_an_operator_is_what_a_node_dispatches_without_what_surrounds_it() -> None:
    call = event("pytest-accel call", 0, 30)
    node = event("pytest-accel node conv2d_1", 1, 20, call)
    cast = event("aten::to", 2, 4, node)
    convolution = event("aten::conv2d", 5, 15, node)
    inside = event("aten::mkldnn_convolution", 6, 14, convolution)
    aside = event("aten::empty", 21, 22, call)
    assert list(profile._executions([call, node, cast, convolution, inside, aside])) == [
        Execution("conv2d_1", "to", 1, 2e3, 4e3),
        Execution("conv2d_1", "conv2d", 1, 5e3, 15e3),
    ]
