"""Which image is served on which instance: all types that botocore knows, and the tags of AWS's own images."""

from __future__ import annotations

import re

import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.sagemaker.images import device_of, image_for

#: AWS's own, as its list of Deep Learning Containers spells them.
REGISTRY = "763104351884.dkr.ecr.eu-west-1.amazonaws.com"
CPU = f"{REGISTRY}/tensorflow-inference:2.19.0-cpu-py312-ubuntu22.04-sagemaker"
GPU = f"{REGISTRY}/tensorflow-inference:2.19.0-gpu-py312-cu122-ubuntu22.04-sagemaker"
NEURON = f"{REGISTRY}/tensorflow-inference-neuronx:2.10.1-neuronx-py310-sdk2.20.0-ubuntu20.04"
#: The letters that begin the families of instances with processors alone, and with Gaudi, for which there is no image.
PROCESSORS = {"c", "m", "r", "t", "dl"}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in ("", "_CPU", "_GPU", "_NEURON"):
        monkeypatch.delenv(f"ACCEL_SAGEMAKER_IMAGE{suffix}", raising=False)


def test_every_instance_type_that_botocore_knows_has_its_device() -> None:
    session = pytest.importorskip("botocore.session").get_session()
    types = session.get_service_model("sagemaker").shape_for("ProductionVariantInstanceType").enum
    families: dict[str, set[str]] = {}
    for instance_type in types:
        family = re.match("ml[.]([a-z]+)", instance_type)
        families.setdefault(device_of(instance_type), set()).add(family[1] if family else "")
    assert families == {"cpu": PROCESSORS, "gpu": {"g", "p"}, "neuron": {"inf", "trn"}}


@pytest.mark.parametrize(
    ("instance_type", "image"),
    [("ml.c5.xlarge", CPU), ("ml.g4dn.xlarge", GPU), ("ml.inf2.xlarge", NEURON), ("ml.m5.large", "own/image:7")],
)
def test_an_image_whose_tag_names_the_device_fits(
    monkeypatch: pytest.MonkeyPatch, instance_type: str, image: str
) -> None:
    monkeypatch.setenv("ACCEL_SAGEMAKER_IMAGE", image)
    assert image_for(instance_type) == image


@pytest.mark.parametrize(
    ("instance_type", "image", "device"),
    [
        ("ml.g4dn.xlarge", CPU, "gpu"),
        ("ml.p3.2xlarge", "gpu/image:7", "gpu"),
        ("ml.g5.xlarge", "localhost:5000/gpu", "gpu"),
        ("ml.g5.xlarge", "own/image:7-cpu@sha256:0-gpu-0", "gpu"),
        ("ml.g5.xlarge", "own/image:no-gpus", "gpu"),
        ("ml.inf2.xlarge", GPU, "neuron"),
        ("ml.trn1.2xlarge", CPU, "neuron"),
    ],
)
def test_an_accelerator_that_would_idle_is_refused_unless_the_user_vouches_for_the_image(
    monkeypatch: pytest.MonkeyPatch, instance_type: str, image: str, device: str
) -> None:
    monkeypatch.setenv("ACCEL_SAGEMAKER_IMAGE", image)
    own = f"ACCEL_SAGEMAKER_IMAGE_{device.upper()}"
    with pytest.raises(Refused, match=rf"its tag names no {device}, so that .* of {instance_type} would idle.*{own}"):
        image_for(instance_type)
    monkeypatch.setenv(own, image)
    assert image_for(instance_type) == image


def test_each_kind_of_instance_can_have_an_image_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, image in {"": CPU, "_GPU": GPU, "_NEURON": NEURON}.items():
        monkeypatch.setenv(f"ACCEL_SAGEMAKER_IMAGE{name}", image)
    types = ("ml.c5.xlarge", "ml.g4dn.xlarge", "ml.inf1.xlarge")
    assert [image_for(instance_type) for instance_type in types] == [CPU, GPU, NEURON]


def test_without_an_image_there_is_none() -> None:
    assert image_for("ml.g4dn.xlarge") == ""
