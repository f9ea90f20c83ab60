"""``--accel-cache-dir`` and its ini keys: what is compiled once, what is compiled again, and where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project


def compiled(project: Project, *args: str) -> list[str]:
    """The variants that a run compiles."""
    project.run("--accel-report=run.json", *args).assert_outcomes(passed=1)
    run = read_record(project.pytester.path / "run.json")
    return [test.variant.id for test in run.tests if test.measurement and not test.measurement.phases.compile_cached]


def artefacts(cache: Path) -> list[Path]:
    """What was compiled and is there."""
    return sorted(cache.glob("entries/*/content/artefact/*"))


@pytest.fixture
def compiled_once(project: Project) -> Project:
    """A project whose model has just been compiled for the first time."""
    project.write_test()
    assert compiled(project) == ["fake"]
    return project


def test_a_second_run_compiles_nothing(compiled_once: Project) -> None:
    before = artefacts(compiled_once.pytester.path / "cache")
    assert compiled(compiled_once) == []
    assert artefacts(compiled_once.pytester.path / "cache") == before != []


def test_another_model_is_compiled_and_the_first_one_stays(compiled_once: Project) -> None:
    compiled_once.write_model(latency_ms=2.0)
    assert compiled(compiled_once) == ["fake"]
    compiled_once.write_model()
    assert compiled(compiled_once) == []


def test_other_hardware_compiles_for_itself(compiled_once: Project) -> None:
    compiled_once.on_other_hardware()
    assert compiled(compiled_once) == ["fake"]


def test_a_damaged_artefact_is_noticed_told_and_made_again(compiled_once: Project) -> None:
    (artefact,) = artefacts(compiled_once.pytester.path / "cache")
    sound = artefact.read_bytes()
    artefact.write_bytes(sound + b" ")
    assert compiled(compiled_once) == ["fake"]
    (warning,) = read_record(compiled_once.pytester.path / "run.json").warnings
    assert f"model.fake.json has {len(sound) + 1} bytes instead of {len(sound)}" in warning
    assert [each.read_bytes() for each in artefacts(compiled_once.pytester.path / "cache")] == [sound]


def test_the_ini_file_says_where_it_is_and_the_command_line_wins(project: Project) -> None:
    project.pytester.makeini("[pytest]\naccel_cache_dir = by_ini")
    project.write_test()
    args = ["--accel-in-process", "-o", f"accel_lock_dir={project.locks}"]
    project.pytester.runpytest_inprocess(*args).assert_outcomes(passed=1)
    project.pytester.runpytest_inprocess(*args, "--accel-cache-dir=by_option").assert_outcomes(passed=1)
    assert [len(artefacts(project.pytester.path / name)) for name in ("by_ini", "by_option")] == [1, 1]


def test_a_cache_above_its_limit_forgets_what_was_used_longest_ago(compiled_once: Project) -> None:
    compiled_once.write_model(latency_ms=2.0)
    assert compiled(compiled_once, "-o", "accel_cache_limit_mb=0.000001") == ["fake"]
    compiled_once.write_model()
    assert compiled(compiled_once) == ["fake"], "it was evicted, and so it has to be compiled again"
