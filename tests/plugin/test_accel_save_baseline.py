"""``--accel-save-baseline``: what is saved, what never is, and what later runs make of it."""

from __future__ import annotations

import json

import pytest

from pytest_accel.commands.main import main
from tests.plugin.conftest import Project, Template


@pytest.fixture
def saved(project: Project, template: Template) -> Project:
    """A project whose model takes 1 ms and has a baseline."""
    project.write_test("p99_ms=5, max_regression=0.05")
    template.copy_to(project, "saved baseline", ("--accel-save-baseline",))
    return project


def test_a_run_saves_where_the_fingerprint_the_model_and_the_variant_say(saved: Project) -> None:
    fingerprint, model, file = saved.baseline().relative_to(saved.baselines).parts
    assert fingerprint.startswith("fake-device-")
    assert (model, file) == ("model", "fake.json")


def test_the_terminal_says_what_was_saved(project: Project) -> None:
    project.write_test()
    result = project.run("--accel-save-baseline", workers=True)
    result.stdout.fnmatch_lines(["*baselines/fake-device-*/model/fake.json saved"])


def test_an_unchanged_model_passes(saved: Project) -> None:
    result = saved.run(workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["pass * ×1.000 [[]*[]] of baseline*"])


def test_a_slower_model_is_regressed_and_told_what_changed_and_how_to_see_it_again(saved: Project) -> None:
    saved.write_model(latency_ms=1.3)
    result = saved.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*regressed: model[[]fake[]] 1.300 times the baseline's time [[]1.2*, 1.3*[]] with 95 % confidence*",
            "E*Changed since the baseline:",
            "E*model digest: * -> *",
            "E*Reproduce: pytest 'test_model.py::test_model[[]fake[]]' --accelerator=fake",
        ]
    )


def test_a_slower_model_is_regressed_without_the_baselines_artefact_too(saved: Project) -> None:
    # The tests beside this one would leave a real model's pace undecided.
    saved.monkeypatch.setattr("pytest_accel.regression.pacemaker.ForeignLoad.cores", lambda _: 0.0)
    saved.write_model(latency_ms=1.3)
    saved.empty_cache()
    result = saved.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*regressed: model[[]fake[]] 1.300 times the baseline's time*"])


def test_a_faster_model_is_improved_and_advised_to_save(saved: Project) -> None:
    saved.write_model(latency_ms=0.5)
    result = saved.run(workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["improved * ×0.500 *", "improved: 0.500 times the baseline's time* (model[[]fake[]])"])


def test_a_run_that_breaks_a_budget_is_not_saved(project: Project) -> None:
    project.write_test("p99_ms=0.5")
    result = project.run("--accel-save-baseline", workers=True)
    result.assert_outcomes(failed=1)
    assert not project.baselines.exists()
    result.stdout.fnmatch_lines(["*fake.json not saved: sla-breach: *"])


def test_an_inconclusive_run_is_not_saved(project: Project) -> None:
    project.write_test()
    project.run("--accel-save-baseline").assert_outcomes(passed=1)  # in process: speed is not judged
    assert not project.baselines.exists()


def test_a_regressed_run_does_not_replace_the_baseline_and_stays_red(saved: Project) -> None:
    before = saved.baseline().read_bytes()
    saved.write_model(latency_ms=1.3)
    for _ in range(2):
        saved.run("--accel-save-baseline", workers=True).assert_outcomes(failed=1)
        assert saved.baseline().read_bytes() == before


def test_all_replaces_and_new_does_not(saved: Project) -> None:
    before = saved.baseline().read_bytes()
    saved.write_model(latency_ms=0.5)
    saved.run("--accel-save-baseline=new", workers=True).assert_outcomes(passed=1)
    assert saved.baseline().read_bytes() == before
    saved.run("--accel-save-baseline=all", workers=True).assert_outcomes(passed=1)
    assert json.loads(saved.baseline().read_bytes())["launches"][0]["p50_ms"] == 0.5


def test_another_folder_by_option_and_by_ini(project: Project) -> None:
    project.write_test()
    project.run("--accel-save-baseline", "--accel-baseline-dir=elsewhere", workers=True).assert_outcomes(passed=1)
    assert len(list((project.pytester.path / "elsewhere").rglob("fake.json"))) == 1
    project.pytester.makeini("[pytest]\naccel_baseline_dir = by_ini")
    project.run("--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    assert len(list((project.pytester.path / "by_ini").rglob("fake.json"))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "*model/fake.json:1: *"),
        ('{"schema": 99}', "*model/fake.json:1: schema 99 is newer than 2*upgrade pytest-accel*"),
        ('{\n"schema": 1,\n"saved": 5\n}', "*model/fake.json:3: *saved*"),
    ],
)
def test_a_baseline_that_cannot_be_read_fails_the_test_with_file_and_line(
    saved: Project, content: str, message: str
) -> None:
    saved.baseline().write_text(content, encoding="utf-8")
    result = saved.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E*{message}"])


def test_a_folder_that_cannot_be_written_fails_the_test_with_the_next_action(project: Project) -> None:
    project.write_test()
    project.baselines.write_text("a file is in the way", encoding="ascii")
    result = project.run("--accel-save-baseline", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*: *baselines is no folder; choose another folder with --accel-baseline-dir"])


def test_answers_lost_and_gained_since_the_baseline_are_told(project: Project) -> None:
    project.pytester.makepyfile(
        test_model="""
        import numpy as np
        import pytest

        @pytest.mark.accelerator("fake", max_accuracy_drop=0.01)
        def test_model(accel_model):
            inputs = np.random.default_rng(1).normal(size=(500, 4)).astype("float32")
            labels = inputs[:, :3].argmax(axis=1)
            accel_model("model.fake.json").check((inputs, labels))
        """
    )
    project.write_model(identity=True)
    project.run("--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    project.write_model(identity=True, output_noise=0.4)
    result = project.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*inaccurate: model[[]fake[]] *baseline*"])


def test_a_strict_run_that_saves_its_first_baseline_passes_and_asks_for_nothing_more(project: Project) -> None:
    project.write_test("p99_ms=5")
    result = project.run("--accel-save-baseline", "--accel-strict", workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*No baseline*")


TWO_TESTS = """
import numpy as np, pytest

@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.accelerator("fake")
def test_rows(accel_model, rows):
    accel_model("model.fake.json").check(np.ones((rows, 4), np.float32))
"""


@pytest.mark.parametrize("flag", ["--accel-save-baseline", "--accel-save-baseline=new"])
def test_two_tests_on_other_data_do_not_share_a_baseline(project: Project, flag: str) -> None:
    project.pytester.makepyfile(test_rows=TWO_TESTS)
    result = project.run(flag, workers=True)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E*test_rows*2* and *test_rows*3* one baseline, *fake.json, cannot serve different data: *"]
    )


def test_two_tests_on_other_data_need_no_baseline_to_run(project: Project) -> None:
    project.pytester.makepyfile(test_rows=TWO_TESTS)
    project.run(workers=True).assert_outcomes(passed=2)


# a slower model that is accepted

SLOWER = ("--accel-save-baseline=accept", "--accel-because=the new head is worth it")


def test_a_slower_model_is_accepted_with_the_reason_in_its_baseline(saved: Project) -> None:
    saved.write_model(latency_ms=1.3)
    result = saved.run(*SLOWER, workers=True)
    result.assert_outcomes(failed=1)  # what is accepted was regressed
    result.stdout.fnmatch_lines(["*baselines/fake-device-*/model/fake.json saved"])
    accepted = json.loads(saved.baseline().read_bytes())["accepted"]
    assert accepted["because"] == "the new head is worth it"
    assert accepted["ratio"]["estimate"] == pytest.approx(1.3)
    saved.run(workers=True).assert_outcomes(passed=1)


def test_a_recorded_run_is_accepted_without_another_one(saved: Project) -> None:
    saved.write_model(latency_ms=1.3)
    saved.run("--accel-report=run.json", workers=True).assert_outcomes(failed=1)
    folder = saved.pytester.path
    assert main(["baseline", "accept", str(folder / "run.json"), "--because", "worth it"]) == 0
    accepted = json.loads(saved.baseline().read_bytes())
    assert accepted["accepted"]["before"]["saved"]
    assert accepted["duets"][0]["pacemaker"] == "yardstick"
    saved.run(workers=True).assert_outcomes(passed=1)
    saved.empty_cache()
    saved.monkeypatch.setattr("pytest_accel.regression.pacemaker.ForeignLoad.cores", lambda _: 0.0)
    saved.run(workers=True).assert_outcomes(passed=1)  # by the pace that the record had


def test_the_failure_says_how_to_accept(saved: Project) -> None:
    saved.write_model(latency_ms=1.3)
    result = saved.run("--accel-save-baseline", workers=True)
    result.stdout.fnmatch_lines(["*not saved: regressed: * (to accept it: pytest-accel baseline accept run.json *"])


def test_an_old_baseline_is_told(saved: Project) -> None:
    text = saved.baseline().read_text(encoding="utf-8")
    today = json.loads(text)["saved"]
    saved.baseline().write_text(text.replace(f'"saved": "{today}"', '"saved": "2020-02-29"'), encoding="utf-8")
    told = "baselines older than 365 days, which may hide regressions: model[[]fake[]] of 2020-02-29; *"
    saved.run(workers=True).stdout.fnmatch_lines([told])
    old_enough = saved.run("-o", "accel_baseline_max_age_days=99999", workers=True)
    old_enough.stdout.no_fnmatch_line("baselines older than *")
