from __future__ import annotations

from pytest_accel.facts.settings import Host
from pytest_accel.report.devices import table
from pytest_accel.worker.accelerator import Missing, Present


def test_each_accelerator_has_its_device_or_its_reason_and_what_to_do() -> None:
    survey: dict[str, Present | Missing] = {
        "gpu-trt": Missing("no-hardware", "no GPU", "get one"),
        "cpu": Present("Xeon", {}),
    }
    assert list(table(survey)) == [
        "cpu      present  Xeon",
        "gpu-trt  absent   no-hardware: no GPU",
        "                  get one",
    ]


def test_an_accelerator_whose_sdk_was_not_asked_is_possible() -> None:
    survey = {"cpu": None, "gpu-trt": Missing("no-hardware", "no GPU", "get one")}
    assert list(table(survey)) == [
        "cpu      possible",
        "gpu-trt  absent    no-hardware: no GPU",
        "                   get one",
    ]


def test_an_accelerator_on_another_machine_says_which() -> None:
    survey: dict[str, Present | Missing] = {
        "cpu": Present("Xeon", {}),
        "gpu-trt": Present("Tesla T4", {}),
    }
    assert list(table(survey, {"gpu-trt": Host("me@gpu-box")})) == [
        "cpu      present  Xeon",
        "gpu-trt  present  Tesla T4 on me@gpu-box",
    ]


def test_nothing_known_is_an_empty_table() -> None:
    assert list(table({})) == []
