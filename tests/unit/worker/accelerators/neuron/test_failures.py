from __future__ import annotations

import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.neuron.failures import DeviceFailed, failure


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ("Nrt::Init failed: nrt_init status=1", DeviceFailed, "the Neuron runtime failed: no NeuronCore could be had"),
        ("Could not load the model status=4 message=Allocation Failure", DeviceFailed, "the Neuron runtime failed: "),
        ("Inconsistent client batch sizes", Refused, "Neuron cannot run this model: a call has another batch than was"),
    ],
)
def test_an_error_is_the_runtimes_or_about_model_and_inputs(words: str, kind: type[Exception], told: str) -> None:
    found = failure(RuntimeError(words), "Neuron cannot run this model")
    assert type(found) is kind
    assert str(found).startswith(told)
