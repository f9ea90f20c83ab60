"""A PyTorch module from the marker to the verdict, with PyTorch itself where it is installed."""

from __future__ import annotations

from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.hardware import processor

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = pytest.mark.skipif(
    not any(distributions(name="torch")), reason="needs pip install 'pytest-accel[cpu-torch]'"
)
#: PyTorch crashes the process that imports it a second time, as tests within a test would.
ITSELF = {"workers": True, "subprocess": True}
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


def test_a_module_made_by_a_function_is_checked_in_each_precision(project: Project) -> None:
    precisions = ["fp32", *(["bf16"] if processor.has_bf16() else [])]
    project.pytester.makepyfile(test_network=TESTS.format(precisions=precisions))
    result = project.run("--accelerator=cpu-torch", "--accel-report=record.json", **ITSELF)
    result.assert_outcomes(passed=len(precisions), deselected=1)
    assert '"torch":' in (project.pytester.path / "record.json").read_text(), "its version is under test"


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


def test_a_module_may_return_a_class_of_its_own_and_have_a_small_type(project: Project) -> None:
    project.pytester.makepyfile(test_classifier=OWN_CLASS)
    project.run(**ITSELF).assert_outcomes(passed=3)


@pytest.mark.skipif(not any(distributions(name="onnxruntime")), reason="needs pip install 'pytest-accel[cpu-ort]'")
def test_an_accelerator_that_cannot_take_it_says_what_it_takes(project: Project) -> None:
    project.pytester.makepyfile(test_network=TESTS.format(precisions=["fp32"]))
    result = project.run("--accelerator=cpu-ort", **ITSELF)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["E *UsageError: cpu-ort cannot compile *model.pt2 (torch); it takes: saved_model, *"])
