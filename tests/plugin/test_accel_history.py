"""``--accel-history``: what a run keeps of what it has measured, and what it never keeps twice."""

from __future__ import annotations

import json

import pytest

from pytest_accel.store.baselines import Baselines
from pytest_accel.store.history import History
from pytest_accel.store.history_entry import HistoryEntry
from tests.git import commit_all, git
from tests.git import git_of_nobody as git_of_nobody  # a fixture is found by its name here
from tests.plugin.conftest import Project, Template


@pytest.fixture
def saved(project: Project, template: Template) -> Project:
    """A project whose model takes 1 ms and has a baseline."""
    project.write_test("p99_ms=5, max_regression=0.05")
    template.copy_to(project, "saved baseline", ("--accel-save-baseline",))
    return project


@pytest.fixture
def short_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline with one launch beside the yardstick: how many there are is told elsewhere."""
    monkeypatch.setattr("pytest_accel.regression.pacemaker.SAVED_LAUNCHES", 1)


def kept(project: Project) -> tuple[HistoryEntry, ...]:
    known = History(project.baselines).read()
    assert known.faults == ()
    return known.entries


def test_a_run_keeps_each_check_in_a_file_of_its_own(saved: Project) -> None:
    result = saved.run("--accel-history", workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["baselines/history/20??-??/20*Z-no-commit-??????.jsonl added"])
    (entry,) = kept(saved)
    baseline = json.loads(saved.baseline().read_text())
    assert (entry.model, entry.variant, entry.verdict) == ("model", "fake", "pass")
    assert entry.fingerprint == baseline["hardware"]["fingerprint"]
    assert entry.p50_ms.estimate == entry.p99_ms.estimate == 1.0
    assert entry.ratio is not None
    assert entry.ratio.estimate == pytest.approx(1.0)
    assert entry.beside is not None
    assert (entry.beside.saved, entry.beside.artefact_key) == (baseline["saved"], baseline["artefact"]["key"])


def test_a_run_that_is_not_asked_keeps_nothing(project: Project) -> None:
    project.write_test()
    project.run(workers=True).stdout.no_fnmatch_line("*.jsonl added")
    assert not History(project.baselines).root.exists()


def test_the_ini_file_asks_too_and_the_folder_is_that_of_the_baselines(project: Project) -> None:
    project.write_test()
    project.pytester.makeini("[pytest]\naccel_history = true\naccel_baseline_dir = elsewhere")
    project.run(workers=True).stdout.fnmatch_lines(["elsewhere/history/*.jsonl added"])


def test_a_model_that_got_slower_is_kept_with_the_baseline_that_it_is_slower_than(saved: Project) -> None:
    saved.write_model(latency_ms=1.3)
    saved.run("--accel-history", workers=True).assert_outcomes(failed=1)
    (entry,) = kept(saved)
    assert entry.verdict == "regressed"
    assert entry.ratio is not None
    assert entry.ratio.estimate == pytest.approx(1.3)
    assert entry.beside is not None
    assert entry.beside.artefact_key != entry.artefact


@pytest.mark.usefixtures("short_saving")
def test_what_is_saved_meanwhile_is_not_what_the_ratio_is_to(saved: Project) -> None:
    before = json.loads(saved.baseline().read_text())["artefact"]["key"]
    saved.write_model(latency_ms=0.9)
    saved.run("--accel-history", "--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    (entry,) = kept(saved)
    assert entry.beside is not None
    assert entry.beside.artefact_key == before
    assert entry.artefact == json.loads(saved.baseline().read_text())["artefact"]["key"] != before


def test_an_opponent_is_named_and_no_baseline(saved: Project) -> None:
    other = saved.pytester.mkdir("other")
    (other / "model.fake.json").write_bytes((saved.pytester.path / "model.fake.json").read_bytes())
    saved.write_model(latency_ms=1.3)
    saved.run("--accel-history", "--accel-against=other", workers=True).assert_outcomes(failed=1)
    (entry,) = kept(saved)
    assert (entry.opponent, entry.beside) == ("other", None)
    assert entry.ratio is not None


@pytest.mark.parametrize(
    ("args", "workers"),
    [(["--accel-compile-only"], True), ([], False), (["--collect-only"], True), (["--accelerator=cpu"], True)],
    ids=["compile only", "in process", "collect only", "none of the tests"],
)
def test_where_nothing_was_measured_nothing_is_kept(project: Project, args: list[str], workers: bool) -> None:
    project.write_test()
    project.run("--accel-history", *args, workers=workers)
    assert not History(project.baselines).root.exists()


TWO_TESTS = """
    import pytest

    @pytest.mark.accelerator("fake", batch_size=[1, 2])
    def test_model(accel_model):
        accel_model("model.fake.json").check()
"""


def test_under_xdist_the_run_keeps_one_file(project: Project) -> None:
    project.pytester.makepyfile(TWO_TESTS)
    project.run("-n", "2", "--accel-history", workers=True, subprocess=True).assert_outcomes(passed=2)
    assert sorted(entry.variant for entry in kept(project)) == ["fake-b1", "fake-b2"]
    assert len(list(History(project.baselines).root.rglob("*.jsonl"))) == 1


INTERRUPTED = """
    from pathlib import Path

    import pytest

    @pytest.mark.accelerator("fake", batch_size=[1, 2])
    def test_model(accel_model):
        if accel_model.variant.batch_size == 2 and not Path("again").exists():
            Path("again").touch()
            {interruption}
        accel_model("model.fake.json").check()
"""


@pytest.mark.parametrize(
    "interruption", ["raise KeyboardInterrupt", "import os; os._exit(1)"], ids=["interrupted", "killed"]
)
def test_what_a_resumed_run_takes_over_is_kept_once(project: Project, interruption: str) -> None:
    project.pytester.makepyfile(INTERRUPTED.format(interruption=interruption))
    project.run("--accel-history", workers=True, subprocess=True)
    before = kept(project)
    assert [entry.variant for entry in before] == (["fake-b1"] if "Keyboard" in interruption else [])
    result = project.run("--accel-history", "--accel-resume", workers=True, subprocess=True)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["resumed: 1 result is from the run of *"])
    assert [entry.variant for entry in kept(project)] == ["fake-b1", "fake-b2"]
    texts = [file.read_text() for file in History(project.baselines).root.rglob("*.jsonl")]
    assert sum(text.count("\n") for text in texts) == 2


def test_a_history_that_cannot_be_written_fails_the_run_with_the_next_action(project: Project) -> None:
    project.write_test()
    project.baselines.mkdir()
    (project.baselines / "history").write_text("a file is in the way")
    result = project.run("--accel-history", workers=True)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["--accel-history: *history/20??-??/*.jsonl cannot be written: *; choose another folder with *"]
    )


def test_the_page_draws_the_history_with_this_run_and_tells_what_it_cannot_read(project: Project) -> None:
    project.write_test()
    project.run("--accel-history", workers=True).assert_outcomes(passed=1)
    damaged = History(project.baselines).root / "damaged.jsonl"
    damaged.write_text("{\n")
    # Two runs that begin within a second and measure the very same are one entry, and a scripted device does so.
    project.write_model(latency_ms=1.1)
    result = project.run("--accel-history", "--accel-report=page.html", workers=True)
    result.assert_outcomes(passed=1)
    assert 'aria-label="model[fake]: 2 runs"' in (project.pytester.path / "page.html").read_text()
    result.stdout.fnmatch_lines([f"{damaged}:1: not JSON: *; restore the file from version control, or remove *"])


ONE_OF_TWO = """
    import pytest

    @pytest.mark.accelerator("fake")
    def test_model(accel_model):
        accel_model("model.fake.json", name="{name}").check()
"""


@pytest.mark.usefixtures("git_of_nobody", "short_saving")
def test_branches_that_keep_history_and_save_baselines_merge_without_a_conflict(project: Project) -> None:
    folder, saving = project.pytester.path, ("--accel-save-baseline", "--accel-history")
    (folder / ".gitignore").write_text("cache/\n__pycache__/\n")
    for name in ("day", "night"):
        project.pytester.makepyfile(**{f"test_{name}": ONE_OF_TWO.format(name=name)})
    base = commit_all(folder, "two tests")
    for name in ("day", "night"):
        git(folder, "checkout", "--quiet", "-b", f"faster-{name}", "main")
        project.run(*saving, f"test_{name}.py", workers=True).assert_outcomes(passed=1)
        commit_all(folder, f"what {name} has measured")
    git(folder, "merge", "--quiet", "--no-edit", "faster-day")
    assert git(folder, "status", "--porcelain") == ""
    assert [(entry.model, entry.provenance.commit, entry.provenance.branch) for entry in kept(project)] == [
        (name, base, f"faster-{name}") for name in ("day", "night")
    ]
    assert [baseline.model for _, baseline in Baselines(project.baselines).iterate()] == ["day", "night"]
