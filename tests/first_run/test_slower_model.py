"""What a user sees of a regression: one check of ResNet-50 and its baseline, unchanged and then with more work.

Each test runs pytest in a small project. What that prints is shown, and so is a failure that is expected here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

from pytest_accel.report.record import read_record

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from tests.models.zoo import Zoo

SAMPLES = 16
#: SAVES is how many times the baseline is tried to be saved, which a busy machine may not decide at once.
SAVES = 3
TEST = """
import pytest


@pytest.mark.accelerator("cpu-openvino", max_regression=0.05, p50_ms=500)
def test_resnet50(accel_model):
    accel_model("resnet50.onnx").check("digits.npz")
"""
INI = """
[pytest]
accel_compare_budget = 60
"""


class Project:
    """A project with one model and one test; ``saved`` is the check whose baseline was to be saved when it was made."""

    def __init__(self, folder: Path, zoo: Zoo, config: pytest.Config) -> None:
        self._folder = folder
        self._zoo = zoo
        self._capture = config.pluginmanager.getplugin("capturemanager")
        (folder / "test_resnet50.py").write_text(TEST, encoding="utf-8")
        (folder / "pytest.ini").write_text(INI, encoding="utf-8")
        images, labels = zoo.validation("resnet50")
        np.savez(folder / "digits.npz", image=images[:SAMPLES], labels=labels[:SAMPLES])
        self.saved = self._save()

    def _save(self) -> TestRecord:
        for _ in range(SAVES):
            saved = self.check("resnet50", "the baseline of ResNet-50 is saved", "--accel-save-baseline")
            if saved.kind != "inconclusive":
                break
        return saved

    def check(self, model: str, title: str, *args: str) -> TestRecord:
        """Run the project's test on a model, show what a user sees of it, and return its record."""
        self._run(model, title, [*args], f"--accel-report={self._folder / 'run.json'}")
        (test,) = read_record(self._folder / "run.json").tests
        return test

    def failure(self, model: str, title: str) -> tuple[dict[str, str], str]:
        """Run it without a record and return the properties in its JUnit report, and its failure.

        With a record, a model that differs would be paced too, so that somebody can accept it later.
        """
        self._run(model, title, [], f"--junitxml={self._folder / 'junit.xml'}")
        test = next(ElementTree.parse(self._folder / "junit.xml").iter("testcase"))
        properties = {each.get("name", ""): each.get("value", "") for each in test.iter("property")}
        return properties, test.findtext("failure", "")

    def _run(self, model: str, title: str, shown: list[str], report: str) -> None:
        shutil.copy(self._zoo.onnx_file(model), self._folder / "resnet50.onnx")
        command = ["pytest", "--accelerator=cpu-openvino", *shown]
        own = ["-p", "no:cacheprovider", f"--rootdir={self._folder}", report]
        with self._capture.global_and_fixture_disabled():
            print(f"\n\n--- {title}: {' '.join(command)}", flush=True)
            subprocess.run([sys.executable, "-m", *command, *own], cwd=self._folder, check=False)
            print(f"--- end of: {title}\n", flush=True)


@pytest.fixture(scope="module")
def project(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Project:
    """The project with its baseline, on a machine that is not too busy for one."""
    made = Project(tmp_path_factory.mktemp("project"), zoo, pytestconfig)
    skip_if_undecided(made.saved)
    return made


def test_an_unchanged_model_passes(project: Project) -> None:
    test = project.check("resnet50", "the same model again passes")
    skip_if_undecided(test)
    assert test.kind in ("pass", "improved")
    assert test.ratio is not None
    assert test.accuracy is not None
    assert test.accuracy.flips_lost == test.accuracy.flips_gained == 0


def test_more_work_for_the_same_answers_is_regressed(project: Project) -> None:
    properties, failure = project.failure("resnet50_doubled", "a model with a stage applied twice fails, as it should")
    if properties["accel.verdict"] == "inconclusive":
        pytest.skip(f"not decided on a machine that is too busy: {failure}")
    assert properties["accel.verdict"] == "regressed"
    ratio = [float(properties[f"accel.ratio{bound}"]) for bound in (".lower", "", ".upper")]
    assert ratio == sorted(ratio)
    assert 1.05 < ratio[0] < ratio[2] < 2.0
    assert project.saved.accuracy is not None
    assert float(properties["accel.top1"]) == pytest.approx(project.saved.accuracy.top1)
    assert "model digest: " in failure


def skip_if_undecided(test: TestRecord) -> None:
    """A machine that is too busy to decide is no fault of the product, which says so."""
    if test.kind == "inconclusive":
        (why, *_) = [verdict.summary for verdict in test.verdicts if verdict.kind == test.kind]
        pytest.skip(f"not decided on a machine that is too busy: {why}")
