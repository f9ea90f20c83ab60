"""``inf2`` and ``trn1`` against the stand-in of tensorflow-neuronx, with a driver that counts at once.

They differ by their chip alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.accelerators.neuron.inf2_trn1 import Inf2, Trn1
from tests.contract.neuron_family import NeuronContract
from tests.standins import neuron_host

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_accel.processes.client import WorkerClient
    from pytest_accel.worker.accelerator import Source

pytestmark = pytest.mark.slow  # its workers import TensorFlow


class TestInf2(NeuronContract):
    accelerator = Inf2
    chip = "inf2"
    driver = neuron_host.LIVE_DRIVER
    cast = "float32"

    @pytest.mark.parametrize(("precision", "dtype"), [("bf16", "bfloat16"), ("tf32", "tf32")])
    def test_operators_are_cast_when_asked_for(
        self, client: WorkerClient, source: Source, tmp_path: Path, precision: str, dtype: str
    ) -> None:
        options = self.complete(precision=precision, auto_cast="all")
        client.compile(source, tmp_path, options)
        client.load(tmp_path, options)
        assert client.placement()[0].precisions.keys() == {dtype}


class TestTrn1(NeuronContract):
    accelerator = Trn1
    chip = "trn1"
    driver = neuron_host.LIVE_DRIVER
    cast = "float32"
