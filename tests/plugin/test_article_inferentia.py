"""The article's Inferentia, as it is written there: five combinations of batch and cores, core groups of three sizes.

They ran on an ``inf1.6xlarge``, whose four chips have sixteen cores. What lies between the combinations the compiler of
2020 refused, and so does the stand-in's.
"""

from __future__ import annotations

import json
import os
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.report.record import read_record
from tests.standins import neuron_host

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

pytestmark = pytest.mark.usefixtures("quick_tensorflow")

STANDINS = Path(neuron_host.__file__).parent
ARTICLE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "article_tables.json").read_text())[
    "inferentia"
]
COMBINATIONS = [tuple(each) for each in ARTICLE["compiled_batch_and_cores"]]
#: All batches and cores that the combinations name.
BATCHES, CORES = (sorted({each[at] for each in COMBINATIONS}) for at in (0, 1))


@pytest.fixture
def machine(project: Project) -> Path:
    """An ``inf1.6xlarge`` with the compiler of 2020."""
    root = neuron_host.make(project.pytester.path / "machine", "inf1", devices=4)
    project.monkeypatch.setenv("ACCEL_HOST_ROOT", str(root))
    project.monkeypatch.setenv("PYTHONPATH", str(STANDINS), prepend=os.pathsep)
    project.monkeypatch.setenv("STANDIN_MISBEHAVES", "refuses-combinations")
    return root


def marker_of(batch: int, cores: int) -> str:
    """The combination as a marker: a call has ten compiled batches, one core has copies, sixteen keep their weights."""
    options: dict[str, Any] = {"batch_size": ARTICLE["compiled_batches_in_a_call"] * batch, "compiled_batch": batch}
    options |= {"dynamic_batch": True, "neuroncores": cores}
    if cores == 1:
        options["data_parallel"] = 4
    if cores >= ARTICLE["static_weights_from_cores"]:
        options["extra"] = {"static-weights": True}
    return f"@pytest.mark.accelerator('inf1', on_compile_error='record', **{options!r})"


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_its_five_combinations_run_and_what_lies_between_is_refused(project: Project, digits_cnn: Path) -> None:
    markers = "\n".join(marker_of(batch, cores) for batch in BATCHES for cores in CORES)
    project.pytester.makepyfile(
        test_article=f"""
import numpy as np
import pytest

{markers}
def test_article(accel_model):
    compiled = accel_model({str(digits_cnn)!r})
    batch = np.ones((compiled.variant.batch_size, 8, 8, 1), np.float32)
    assert compiled.predict(batch).shape == (len(batch), 10)
    assert compiled.placement().on_device == 1.0
"""
    )
    result = project.run("--accel-report=run.json", workers=True)
    result.assert_outcomes(passed=len(COMBINATIONS))
    refused = [record.variant.options for record in read_record(project.pytester.path / "run.json").tests]
    between = {(batch, cores) for batch in BATCHES for cores in CORES} - set(COMBINATIONS)
    assert {(options["compiled_batch"], options["neuroncores"]) for options in refused} == between
    assert between


@pytest.mark.slow
def test_its_core_groups_hold_models_side_by_side(project: Project, machine: Path, digits_cnn: Path) -> None:
    sizes = ARTICLE["core_groups"]
    firsts = [end - size for end, size in zip(accumulate(sizes), sizes, strict=True)]
    groups = {size: first // size for size, first in zip(sizes, firsts, strict=True)}  # the last one of each size
    project.monkeypatch.delenv("STANDIN_MISBEHAVES")
    project.pytester.makepyfile(
        test_article=f"""
import numpy as np
import pytest

@pytest.mark.accelerator("inf1")
def test_article(accel_model):
    models = [
        accel_model({str(digits_cnn)!r}, neuroncores=size, core_group=group) for size, group in {groups!r}.items()
    ]
    batch = np.ones((1, 8, 8, 1), np.float32)
    for _ in range(2):  # so that all of them are loaded at once
        assert [model.predict(batch).shape for model in models] == [(1, 10)] * len(models)
"""
    )
    project.run(workers=True).assert_outcomes(passed=1)
    counted = {at: int(counter.read_text()) for at, counter in enumerate(neuron_host.counters(machine))}
    assert {at for at, count in counted.items() if count} == {group * size for size, group in groups.items()}
    assert neuron_host.held_cores(machine) == []
