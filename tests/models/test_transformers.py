"""Models of Transformers, small and with random weights, as modules of PyTorch and exported to ONNX.

Their outputs are objects of its own classes. Their data come from a DataLoader, and sequences differ in length.
"""

from __future__ import annotations

from importlib.metadata import distributions

import pytest

from tests.plugin.conftest import Project
from tests.plugin.test_torch import FORKED

pytestmark = pytest.mark.slow

#: NEEDED lists the packages that make and export the models.
NEEDED = ("torch", "transformers", "onnxscript", "onnxruntime", "openvino")
MODELS = """
import torch
import transformers as t
from torch.utils.data import DataLoader

SMALL = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
BACKBONE = t.ResNetConfig(
    embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
)
CONFIGS = {
    "bert": t.BertConfig(vocab_size=100, max_position_embeddings=32, **SMALL),
    "vit": t.ViTConfig(image_size=32, patch_size=8, num_labels=5, **SMALL),
    "t5": t.T5Config(vocab_size=100, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2),
    "detr": t.DetrConfig(
        use_timm_backbone=False, backbone_config=BACKBONE, backbone=None, d_model=32, encoder_layers=1,
        decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
        num_queries=5, num_labels=3,
    ),
}
CLASSES = {
    "bert": t.BertModel, "vit": t.ViTForImageClassification, "t5": t.T5EncoderModel, "detr": t.DetrForObjectDetection
}
TOKENS = ("bert", "t5")

def module(name):
    torch.manual_seed(0)
    return CLASSES[name]._from_config(CONFIGS[name], attn_implementation="eager").eval()

def example(name, rows=2, length=9):
    torch.manual_seed(length)
    if name not in TOKENS:
        return {"pixel_values": torch.randn(rows, 3, 32, 32)}
    ids = torch.randint(1, 100, (rows, length))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

def loader(name, lengths):
    rows = [{key: values[0] for key, values in example(name, 1, length).items()} for length in lengths]
    return DataLoader(rows, batch_size=1)
"""
TORCH = """
import pytest
import torch
from models import *

@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.accelerator("cpu-torch")
def test_module(accel_model, name):
    made = module(name)
    if name in TOKENS:
        free = {key: {1: torch.export.Dim.DYNAMIC} for key in example(name)}
        made = torch.export.export(made, (), example(name, 1), dynamic_shapes=free)
    else:
        made.example_input_array = example(name)
    record = accel_model(made, name=name).check(loader(name, range(5, 9)))
    first = "last_hidden_state" if name in TOKENS else "logits"
    assert record.accuracy.outputs[0].name == first
"""
ONNX = """
import pytest
import torch
from models import *

@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    def export(name):
        path = tmp_path_factory.mktemp(name) / f"{name}.onnx"
        free = {key: {1 if name in TOKENS else 0: torch.export.Dim.DYNAMIC} for key in example(name)}
        given = example(name, 1 if name in TOKENS else 2)
        torch.onnx.export(module(name), (), path, kwargs=given, dynamic_shapes=free, dynamo=True, verbose=False)
        return path

    return {name: export(name) for name in CLASSES}

@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.accelerator("cpu-ort", "cpu-openvino")
def test_export(accel_model, exported, name):
    accel_model(exported[name]).check(loader(name, range(5, 9)))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    if missing := [name for name in NEEDED if not any(distributions(name=name))]:
        pytest.skip(f"needs {', '.join(missing)}: pip install {' '.join(missing)}")
    made = Project(pytester, monkeypatch)
    pytester.makepyfile(models=MODELS)
    return made


def test_modules_of_transformers_on_pytorch(project: Project) -> None:
    project.pytester.makeconftest(FORKED)
    project.pytester.makepyfile(test_torch=TORCH)
    project.run("--accelerator=cpu-torch", workers=True, subprocess=True).assert_outcomes(passed=4)


def test_their_exports_on_onnx_runtime_and_openvino(project: Project) -> None:
    project.pytester.makepyfile(test_onnx=ONNX)
    result = project.run("--accelerator=cpu-ort,cpu-openvino", workers=True, subprocess=True)
    result.assert_outcomes(passed=8)
