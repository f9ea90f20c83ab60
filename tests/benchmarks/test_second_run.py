"""The second run of the tests of models beside the first one: it compiles nothing, and is faster for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import distributions
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.acceptance.rounds import Costs, Limit, Rounds
from pytest_accel.report.record import read_record
from pytest_accel.store.cache import Cache
from tests.benchmarks import child
from tests.benchmarks.rounds import until_decided

if TYPE_CHECKING:
    from pytest_accel.facts.records import RunRecord
    from tests.models.zoo import Zoo

pytestmark = pytest.mark.benchmark_suite

#: What is compiled once is the same for a large model, which takes a minute longer.
RECIPES, RECIPES_IN_CI = ("digits_cnn", "resnet50"), ("digits_cnn",)
SAMPLES = 16
#: The CPU time of the second run in units of the first one's.
LIMIT = Limit.cost(1.0)
#: Outside CI the figure of so few rounds is told and never beyond; what fails is a model that is compiled again.
LOOKS = (1,)

TESTS = """
import json

import numpy as np
import pytest

with open("models.json") as text:
    MODELS = json.load(text)


@pytest.mark.parametrize("recipe", MODELS)
@pytest.mark.accelerator("cpu-openvino", max_accuracy_drop=0.5)
def test_model(accel_model, recipe):
    with np.load(f"{recipe}.npz") as samples:
        accel_model(MODELS[recipe]).check((samples["images"], samples["labels"]))
"""


@pytest.fixture
def recipes(in_ci: bool) -> Sequence[str]:
    """The models."""
    return RECIPES_IN_CI if in_ci else RECIPES


@pytest.fixture
def project(zoo: Zoo, tmp_path: Path, recipes: Sequence[str]) -> Path:
    """A folder with a test of each model and a few of its samples."""
    if not any(distributions(name="openvino")):
        pytest.skip("needs pip install 'pytest-accel[cpu-openvino]'")
    for recipe in recipes:
        images, labels = zoo.validation(recipe)
        np.savez(tmp_path / f"{recipe}.npz", images=images[:SAMPLES], labels=labels[:SAMPLES])
    models = {recipe: str(zoo.saved_model(recipe)) for recipe in recipes}
    (tmp_path / "models.json").write_text(json.dumps(models), encoding="utf-8")
    (tmp_path / "test_models.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return tmp_path


def run_models(project: Path, cache: Path, count: int) -> tuple[float, RunRecord]:
    """CPU seconds and record of one run of so many models with this cache and without baselines."""
    report = project / "run.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # CPU time is told here, so no other run on this machine has to be waited for.
    where = [f"--accel-cache-dir={cache}", f"--accel-report={report}", "-o", f"accel_lock_dir={project / 'locks'}"]
    ended = child.run([*command, *where], cwd=project)
    run = read_record(report)
    # A busy machine may leave a verdict open; what counts here is that each model was measured.
    assert len(run.tests) == count, ended.output
    return ended.cpu_s, run


def compiled(run: RunRecord) -> list[str]:
    """The tests whose model this run compiled."""
    return [test.test for test in run.tests if test.measurement and not test.measurement.phases.compile_cached]


def test_the_second_run_compiles_nothing_and_is_faster(
    project: Path, recipes: Sequence[str], tell: Callable[[str], None], in_ci: bool
) -> None:
    numbers = count()

    def first_and_second() -> Costs:
        folder = project / f"cache-{next(numbers)}"
        first_s, first = run_models(project, folder, len(recipes))
        cache = Cache(folder, limit_mb=1e6)
        made = {entry.key for entry in cache.entries()}
        second_s, second = run_models(project, folder, len(recipes))
        assert compiled(first)
        assert not compiled(second)
        assert {entry.key for entry in cache.entries()} == made
        return {"first": first_s, "second": second_s}

    found = until_decided(
        Rounds(first_and_second), lambda costs: costs["second"] / costs["first"], limit=LIMIT, looks=LOOKS, in_ci=in_ci
    )
    tell(
        f"{' and '.join(recipes)}: the second run takes {found.estimate:.2f} times the CPU time of the first, "
        f"{found.typical('second'):.1f} s instead of {found.typical('first'):.1f} s, and compiles nothing; "
        f"{found.judged}"
    )
    assert not found.beyond
