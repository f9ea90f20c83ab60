from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pytest_accel.check.metric_code import metric_digest

METRICS = """
from functools import partial
import helper
from constants import SCALE

def score(outputs, labels, weight=1.0):
    return helper.mean(outputs) * SCALE

def weighted(weight):
    def inner(outputs, labels):
        return weight * score(outputs, labels)
    return inner

class Metric:
    def __init__(self, weight): self.weight = weight
    def __repr__(self): return f"Metric({self.weight})"
    def __call__(self, outputs, labels): return self.weight
    def score(self, outputs, labels): return self.weight
"""
FILES = {"metrics": METRICS, "helper": "import deep\ndef mean(x): return deep.mean(x)\n", "constants": "SCALE = 1\n"}
DEEP = "def mean(x): return x.mean()\n"


class Project:
    """A folder with modules; `load` imports them anew, as the next run does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = ("metrics", "helper", "constants", "deep", "package", "package.inner")
        for name, text in {**FILES, "deep": DEEP}.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text, encoding="utf-8")

    def load(self) -> ModuleType:
        self.forget()
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return importlib.import_module("metrics")
        finally:
            sys.dont_write_bytecode = before

    def digest(self, make: Any = lambda metrics: metrics.score) -> str:
        return metric_digest(make(self.load()))

    def forget(self) -> None:
        for name in self.names:
            sys.modules.pop(name, None)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.syspath_prepend(tmp_path)
    project = Project(tmp_path)
    yield project
    project.forget()


@pytest.mark.parametrize(
    "make",
    [
        lambda metrics: metrics.score,
        lambda metrics: metrics.weighted(2.0),
        lambda metrics: metrics.partial(metrics.score, weight=2.0),
        lambda metrics: metrics.Metric(2.0),
        lambda metrics: metrics.Metric(2.0).score,
    ],
    ids=["function", "closure", "partial", "object", "method"],
)
def test_a_metric_that_has_not_changed_is_the_same(project: Project, make: Any) -> None:
    before = project.digest(make)
    assert project.digest(make) == before
    for name in (*FILES, "deep"):
        project.write(name, (project.folder / f"{name}.py").read_text() + "\n# changed\n")
        assert project.digest(make) != before
        before = project.digest(make)


@pytest.mark.parametrize(
    "made_with",
    [
        lambda metrics, weight: metrics.weighted(weight),
        lambda metrics, weight: metrics.partial(metrics.score, weight=weight),
        lambda metrics, weight: metrics.Metric(weight),
        lambda metrics, weight: metrics.Metric(weight).score,
    ],
    ids=["closure", "partial", "object", "method"],
)
def test_what_a_metric_is_made_with_belongs_to_it(project: Project, made_with: Any) -> None:
    digests = {project.digest(lambda metrics, weight=weight: made_with(metrics, weight)) for weight in (1.0, 2.0)}
    assert len(digests) == 2


def test_defaults_belong_to_it(project: Project) -> None:
    def heavier(metrics: Any) -> Any:
        metrics.score.__defaults__ = (2.0,)
        return metrics.score

    assert project.digest(heavier) != project.digest()


def test_a_module_that_is_imported_when_it_is_needed_belongs_to_it(project: Project) -> None:
    project.write("helper", "def mean(x):\n    from deep import mean\n    return mean(x)\n")
    before = project.digest()
    project.write("deep", "def mean(x): return 1.0\n")
    assert project.digest() != before


@pytest.mark.parametrize("imports", ["from . import inner", "from .inner import mean", "import package.inner"])
def test_packages_and_relative_imports_are_followed(project: Project, imports: str) -> None:
    (project.folder / "package").mkdir()
    project.write("package/__init__", imports)
    project.write("package/inner", "def mean(x): return x.mean()\n")
    project.write("helper", "import package\ndef mean(x): return package.mean(x)\n")
    before = project.digest()
    project.write("package/inner", "def mean(x): return 1.0\n")
    assert project.digest() != before


def test_a_metric_of_an_installed_package_is_known_by_its_own_module(project: Project) -> None:
    assert metric_digest(np.mean) == metric_digest(np.mean)
    project.write("helper", "import numpy, pytest_accel, no_such_module\ndef mean(x): return numpy.mean(x)\n")
    sys.modules["no_such_module"] = sys
    try:
        assert project.digest() == project.digest()
    finally:
        del sys.modules["no_such_module"]


def test_no_metric_has_no_code_and_a_builtin_has_a_name() -> None:
    assert metric_digest(None) == ""
    assert metric_digest(max) != metric_digest(min)


def test_an_object_that_shows_its_address_is_never_the_same(project: Project) -> None:
    kept = [object(), object()]
    assert len({project.digest(lambda metrics, each=each: metrics.weighted(each)) for each in kept}) == 2
