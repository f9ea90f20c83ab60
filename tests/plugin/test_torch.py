"""A PyTorch module from the marker to the verdict, with PyTorch itself where it is installed."""

from __future__ import annotations

from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.hardware import processor

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = pytest.mark.skipif(
    not all(any(distributions(name=name)) for name in ("torch", "onnxruntime")),
    reason="needs pip install 'pytest-accel[cpu-torch,cpu-ort]'",
)
#: PyTorch crashes the process that imports it a second time, as tests within a test would.
ITSELF = {"workers": True, "subprocess": True}
#: A process that measures imports PyTorch for seconds, so these are forked as those of a comparison are.
FORKED = """
    from pytest_accel.processes.process import WorkerPool
    from pytest_accel.worker.accelerators.pytorch.cpu_torch import CpuTorch

    def forked(pool, name, reference):
        return pool.forked(name, reference, CpuTorch.preload if name == CpuTorch.name else ())

    WorkerPool.fresh = forked
"""
TESTS = """
    import pytest
    import torch

    def network():
        torch.manual_seed(1)
        layers = torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10)
        made = torch.nn.Sequential(*layers)
        made.example_input_array = torch.ones(1, 1, 8, 8)
        return made

    @pytest.mark.accelerator("cpu-torch", precision={precisions}, batch_size=4)
    def test_network(accel_model):
        accel_model(network).check()

    @pytest.mark.accelerator("cpu-ort")
    def test_elsewhere(accel_model):
        accel_model(network).check()
"""


OWN_CLASS = """
    import dataclasses

    import pytest
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    @dataclasses.dataclass
    class Answer:
        logits: torch.Tensor
        hidden: torch.Tensor
        loss: torch.Tensor = None

    class Classifier(torch.nn.Module):
        example_input_array = torch.ones(2, 8)

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = torch.nn.Linear(8, 6), torch.nn.Linear(6, 3)

        def forward(self, x):
            hidden = self.first(x)
            return Answer(logits=self.second(hidden), hidden=hidden)

    @pytest.mark.accelerator("cpu-torch", batch_size=4)
    def test_classifier(accel_model):
        module = Classifier()
        images = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
        labels = module(images).logits.argmax(1)
        record = accel_model(module).check(DataLoader(TensorDataset(images, labels), batch_size=8))
        assert [output.name for output in record.accuracy.outputs] == ["logits", "hidden"]

    @pytest.mark.accelerator("cpu-torch")
    @pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
    def test_a_small_type(accel_model, kind):
        made = torch.nn.Sequential(torch.nn.Embedding(20, 8), torch.nn.Linear(8, 4)).to(kind)
        made.example_input_array = torch.ones(2, 5, dtype=torch.int64)
        accel_model(made, name=str(kind)).check()
"""


def test_modules_are_checked_and_refused_by_an_accelerator_that_cannot_take_them(project: Project) -> None:
    """One run for all: made by a function, in each precision, with a class of its own, and of a small type."""
    precisions = ["fp32", *(["bf16"] if processor.has_bf16() else [])]
    project.pytester.makeconftest(FORKED)
    project.pytester.makepyfile(test_network=TESTS.format(precisions=precisions), test_classifier=OWN_CLASS)
    result = project.run("--accelerator=cpu-torch,cpu-ort", "--accel-report=record.json", "-rfp", **ITSELF)
    result.assert_outcomes(passed=len(precisions) + 3, failed=1)
    result.stdout.fnmatch_lines(["E *UsageError: cpu-ort cannot compile *model.pt2 (torch); it takes: saved_model, *"])
    result.stdout.fnmatch_lines(["FAILED test_network.py::test_elsewhere*"])
    assert '"torch":' in (project.pytester.path / "record.json").read_text(), "its version is under test"
