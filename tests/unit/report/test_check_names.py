from __future__ import annotations

from pytest_accel.report.check_names import labels, names
from tests.unit import facts

TEST = "test_resnet50.py::test_resnet50[gpu-trt-int8-b8]"
OTHER_MACHINE = facts.hardware(instance_type="g5.xlarge")


def test_a_check_is_told_by_its_model_variant_accelerator_machine_and_test() -> None:
    assert list(labels([facts.record()])) == [
        {
            "model": "resnet50",
            "variant": "gpu-trt-int8-b8",
            "accelerator": "gpu-trt",
            "fingerprint": facts.T4.fingerprint,
            "test": TEST,
        }
    ]
    assert list(names([facts.record()])) == [f"resnet50 {TEST}"]


def test_checks_of_one_model_in_one_test_are_numbered_from_the_second() -> None:
    records = [facts.record(), facts.record(), facts.record(model="other")]
    assert [each.get("check") for each in labels(records)] == [None, "2", None]
    assert list(names(records)) == [f"resnet50 {TEST}", f"resnet50 {TEST} (2)", f"other {TEST}"]


def test_machines_are_named_where_there_are_several() -> None:
    records = [facts.record(), facts.record(hardware=OTHER_MACHINE)]
    assert list(names(records)) == [
        f"resnet50 {TEST} on {facts.T4.fingerprint}",
        f"resnet50 {TEST} on {OTHER_MACHINE.fingerprint}",
    ]
    assert ["check" in each for each in labels(records)] == [False, False]
