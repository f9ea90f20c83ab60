"""``eia`` against the stand-in of its predictor, with two accelerators of different sizes attached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_accel.facts.errors import CompileFailed
from pytest_accel.processes.client import Loaded, WorkerClient
from pytest_accel.testing.contract import AcceleratorContract
from pytest_accel.worker.accelerator import Missing
from pytest_accel.worker.accelerators.eia import ElasticInference
from tests.standins import elastic_inference_host

pytestmark = pytest.mark.slow  # its workers import TensorFlow

STANDINS = Path(elastic_inference_host.__file__).parent


class TestElasticInference(AcceleratorContract):
    accelerator = ElasticInference

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def machine(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        """The machine that the workers of this class believe to run on."""
        root = elastic_inference_host.make(tmp_path_factory.mktemp("machine"), "eia2.large", "eia2.xlarge")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ACCEL_HOST_ROOT", str(root))
            patch.setenv("PYTHONPATH", str(STANDINS), prepend=os.pathsep)
            patch.delenv("STANDIN_MISBEHAVES", raising=False)
            yield root

    def test_the_attached_accelerators_are_told(self, client: WorkerClient) -> None:
        found = client.probe()
        assert not isinstance(found, Missing)
        assert found.identity == {"accelerators": "eia2.large,eia2.xlarge", "device_memory_gb": 8}
        assert found.peak_flops == 32e12

    def test_the_accelerator_asked_for_is_the_one_that_is_used(self, client: WorkerClient, artefact: Path) -> None:
        for ordinal, kind in enumerate(("eia2.large", "eia2.xlarge")):
            client.load(artefact, self.complete(accelerator_id=ordinal, accelerator_type=kind))

    def test_a_label_that_is_not_what_was_connected_to_is_refused(self, client: WorkerClient, artefact: Path) -> None:
        with pytest.raises(CompileFailed, match=r"connected to eia-0+1, an eia2\.xlarge\. Attached are: 0 is an eia2"):
            client.load(artefact, self.complete(accelerator_id=1, accelerator_type="eia2.large"))

    def test_where_operators_ran_is_not_known(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert placement.on_device is None
        assert flops is not None
