"""What the first release has written is still read: its baselines, its compile cache, its journals and its records.

The files in ``data/first_release`` are those of two variants of one fake model.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.commands.main import main
from pytest_accel.facts.records import Hardware
from pytest_accel.report.record import read_record
from pytest_accel.store.baselines import Baselines
from pytest_accel.store.cache import Cache
from pytest_accel.store.journal import Finished
from tests.formats import comment
from tests.plugin.conftest import Project

WRITTEN = Path(__file__).parent / "data" / "first_release"
TEST = """
import numpy as np
import pytest

INPUTS = np.random.default_rng(1).normal(size=(40, 4)).astype("float32")

@pytest.mark.accelerator("fake", batch_size=[1, 2], p99_ms=5, max_regression=0.05)
def test_model(accel_model):
    accel_model("model.fake.json").check((INPUTS, INPUTS[:, :3].argmax(axis=1)))
"""


@pytest.fixture
def older(project: Project) -> Project:
    """A project that the first release has worked in, on a machine like that of then."""
    folder = project.pytester.path
    shutil.copytree(WRITTEN, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    project.pytester.makepyfile(test_model=TEST)
    (stored, *_) = project.baselines.rglob("*.json")
    hardware = Hardware(**json.loads(stored.read_text())["hardware"])

    def of_then(*_: Any, **__: Any) -> Hardware:
        return hardware

    project.monkeypatch.setattr("pytest_accel.session.session.describe_hardware", of_then)
    return project


@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, False])
def test_its_baselines_are_compared_with(older: Project, cached: bool) -> None:
    older.monkeypatch.setattr("pytest_accel.regression.pacemaker.ForeignLoad.cores", lambda _: 0.0)
    if not cached:
        older.empty_cache()
    result = older.run("--accel-strict", "--accel-report=now.json", workers=True)
    result.assert_outcomes(passed=2)
    for test in read_record(older.pytester.path / "now.json").tests:
        details = " ".join(detail for verdict in test.verdicts for detail in verdict.details)
        assert ("because an older release saved the baseline without the digest of its artefact" in details) is cached
    older.write_model(identity=True, latency_ms=1.2)
    older.run("--accel-strict", workers=True).assert_outcomes(failed=2)


def test_its_baselines_are_shown(older: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(list(Baselines(older.baselines).iterate())) == 2
    older.monkeypatch.chdir(older.pytester.path)
    assert main(["baseline", "show"]) == 0
    assert "fake-b2" in capsys.readouterr().out


def test_its_cache_is_sound_and_an_opponent(older: Project) -> None:
    cache = Cache(older.pytester.path / "cache", limit_mb=100)
    assert len(cache.entries()) == 5
    assert all(cache.lookup(stored.key) is not None for stored in cache.entries())
    cache.close()
    (older.pytester.path / "cache").rename(older.pytester.path / "main")
    result = older.run("--accel-against=main", workers=True)
    result.assert_outcomes(passed=2)


def test_its_journals_hold_their_results(tmp_path: Path) -> None:
    shutil.copyfile(WRITTEN / "journal.jsonl", tmp_path / "1-ab.jsonl")
    finished = Finished(tmp_path)
    for line in (WRITTEN / "journal.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)["record"]
        found = finished.take(record["key"], lambda record=record: record["accuracy"]["dataset_digest"])  # type: ignore[misc]
        assert found is not None
        assert (found.test, found.kind) == (record["test"], "pass")


def test_its_results_are_measured_anew_by_another_release(older: Project) -> None:
    folder = older.pytester.path / "cache" / "journals" / "of-this-project"
    folder.mkdir(parents=True)
    shutil.copyfile(WRITTEN / "journal.jsonl", folder / "1-ab.jsonl")
    older.monkeypatch.setattr("pytest_accel.session.session.folder_of", lambda *_: folder)
    older.run("--accel-resume", "--accel-report=now.json", workers=True).assert_outcomes(passed=2)
    assert [test.resumed for test in read_record(older.pytester.path / "now.json").tests] == ["", ""]


def test_its_records_are_read_and_reported(tmp_path: Path) -> None:
    run = read_record(WRITTEN / "run.json")
    assert [test.kind for test in run.tests] == ["pass", "pass"]
    assert main(["report", str(WRITTEN / "run.json"), "-o", str(tmp_path / "run.md")]) == 0
    assert comment(tmp_path / "run.md").startswith("## Passed: none of 2 tests failed")
