"""``--accel-against``: who can be the opponent, how a run names it, and what cannot be compared with."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.report.record import read_record
from pytest_accel.testing import fake_model
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.plugin.conftest import ONE_TEST, Project


def interpreter(folder: Path, **script: Any) -> Path:
    """This interpreter in an environment of its own, where fake models do this unless they say otherwise."""
    path = folder / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = f"{ENVIRONMENT_VARIABLE}='{json.dumps(script)}'"
    path.write_text(f'#!/bin/sh\n{environment} exec {sys.executable} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def checkout(project: Project, **script: Any) -> Path:
    """Another checkout of the project beside it, whose model has this script."""
    folder = project.pytester.path.parent / f"{project.pytester.path.name}-main"
    shutil.copytree(project.pytester.path, folder)
    fake_model(folder / "model.fake.json", **script)
    return folder


def test_another_interpreter_is_measured_beside_this_one(project: Project) -> None:
    interpreter(project.pytester.path / "main", versions={"fake-sdk": "0.9"}, latency_ms=0.5)
    project.write_test("max_regression=0.05")
    opponent = "popen//python=main/python"
    result = project.run(f"--accel-against={opponent}", "--accel-report=run.json", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"accel: *against {opponent}",
            f"E*regressed: model[[]fake[]] 2.000 times the time of {opponent} [[]*[]] with 95 % confidence*",
            "E*Both sides took turns on this device, so it is what differs between them, not the machine.",
            f"E*Changed from {opponent}:",
            "E*version fake-sdk: 0.9 -> 1.0",
            f"E*Reproduce: pytest 'test_model.py::test_model[[]fake[]]' --accelerator=fake --accel-against={opponent}",
            f"regressed * ×2.000 [[]*[]] of {opponent} *",
        ]
    )
    (test,) = read_record(project.pytester.path / "run.json").tests
    assert (test.opponent, test.changes) == (opponent, ("version fake-sdk: 0.9 -> 1.0",))
    assert test.duet is not None
    assert test.duet.pacemaker == opponent


def test_the_same_interpreter_makes_no_difference_and_no_baseline_is_missed(project: Project) -> None:
    project.write_test("max_regression=0.05")
    result = project.run(f"--accel-against=popen//python={interpreter(project.pytester.path)}", workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["pass * ×1.000 [[]*[]] of popen//python=*"])
    result.stdout.no_fnmatch_line("*no-baseline*")


def test_a_virtual_environment_stands_for_its_interpreter(project: Project) -> None:
    interpreter(project.pytester.path / ".venv-main" / "bin", latency_ms=2.0)
    (project.pytester.path / ".venv-main" / "pyvenv.cfg").touch()
    project.write_test()
    result = project.run("--accel-against=.venv-main", workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["improved * ×0.500 [[]*[]] of .venv-main *"])
    result.stdout.no_fnmatch_line("*--accel-save-baseline*")


def test_the_opponents_artefact_is_compiled_with_its_own_versions(project: Project) -> None:
    interpreter(project.pytester.path / "main", versions={"fake-sdk": "0.9"})
    project.write_test()
    project.run("--accel-against=popen//python=main/python", workers=True).assert_outcomes(passed=1)
    origins = [json.loads(path.read_text()) for path in (project.pytester.path / "cache").rglob("origin.json")]
    assert sorted(origin["versions"]["fake-sdk"] for origin in origins) == ["0.9", "1.0"]


def test_an_older_model_is_compiled_like_the_candidate(project: Project) -> None:
    fake_model(project.pytester.path / "older.fake.json", latency_ms=0.8)
    project.write_test("max_regression=0.05")
    result = project.run("--accel-against=older.fake.json", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*regressed: model[[]fake[]] 1.250 times the time of older.fake.json *",
            "E*Changed from older.fake.json:",
            "E*model digest: * -> *",
        ]
    )


def test_another_checkout_has_the_model_at_the_same_place(project: Project) -> None:
    project.write_test("max_regression=0.05")
    main = checkout(project, latency_ms=0.8)
    result = project.run(f"--accel-against={main}", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E*regressed: model[[]fake[]] 1.250 times the time of {main} *"])


def test_the_cache_of_another_checkout_has_the_artefact_of_the_same_variant(project: Project) -> None:
    project.pytester.makeini("[pytest]\naccel_max_regression = 0.05")
    project.write_test("batch_size=[1, 8]")
    project.write_model(latency_ms=0.8)
    project.run("--accel-cache-dir=main", workers=True).assert_outcomes(passed=2)
    project.write_model(latency_ms=1.0)
    result = project.run("--accel-against=main", workers=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines_random(
        [f"E*regressed: model[[]fake-b{size}[]] 1.250 times the time of main *" for size in (1, 8)]
    )


@pytest.mark.parametrize(
    ("opponent", "reason"),
    [
        ("nowhere", "there is no */nowhere; name an interpreter (popen//python=PATH, a virtual environment, or ssh=*"),
        ("popen//python=nowhere/python", "there is no interpreter */nowhere/python"),
        ("socket=::1//python=python3", "write popen//python=python3, or ssh=HOST//python=python3"),
        ("ssh=me@gpu-box//pyhton=x", "'pyhton' is none of ssh, python, env:NAME, did you mean 'python'?"),
        (".", "this is the checkout of this run itself; nothing would be compared, so name an interpreter *"),
    ],
)
def test_what_is_not_there_is_a_usage_error_before_anything_runs(project: Project, opponent: str, reason: str) -> None:
    project.write_test()
    result = project.run(f"--accel-against={opponent}", workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --accel-against={opponent}: {reason}"])


def test_both_sides_are_on_one_machine(project: Project) -> None:
    project.write_test()
    result = project.run("--accel-against=ssh=me@gpu-box//python=python3", workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*fake is on this machine, and both sides have to be on one machine"])


def test_an_opponent_that_is_nothing_is_a_usage_error(project: Project) -> None:
    project.write_test()
    result = project.run("--accel-against=", workers=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accel-against= names nothing, as an unset variable of a CI job does; *"])


def test_another_interpreter_needs_a_process_of_its_own(project: Project) -> None:
    project.write_test()
    result = project.run(f"--accel-against=popen//python={sys.executable}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accel-against=*: another interpreter cannot be this process, *"])


def refused(project: Project, opponent: object, *args: str, workers: bool = True) -> pytest.RunResult:
    """A run whose only test fails because it cannot be compared."""
    result = project.run(f"--accel-against={opponent}", *args, workers=workers)
    result.assert_outcomes(failed=1)
    return result


def test_an_interpreter_without_the_accelerator_is_told_with_what_it_lacks(project: Project) -> None:
    missing = {"kind": "no-sdk", "reason": "fake-sdk cannot be imported", "action": "pip install fake-sdk"}
    interpreter(project.pytester.path / "main", missing=missing)
    project.write_test()
    result = refused(project, "popen//python=main/python")
    result.stdout.fnmatch_lines(
        [
            "E*UsageError: --accel-against=popen//python=main/python: fake is absent there: "
            "fake-sdk cannot be imported; pip install fake-sdk"
        ]
    )


def test_a_cache_without_this_model_and_variant_says_what_it_has(project: Project) -> None:
    fake_model(project.pytester.path / "other.fake.json", latency_ms=3.0)
    for model, precision in (("model", "int8"), ("other", "fp16")):
        text = ONE_TEST.format(marker=f", precision={precision!r}", check="")
        project.pytester.makepyfile(test_model=text.replace("model.fake.json", f"{model}.fake.json"))
        project.run("--accel-cache-dir=main", workers=True)
    project.write_test("precision='fp16'")
    refused(project, "main").stdout.fnmatch_lines(
        [
            "E*UsageError: --accel-against=main: it holds no artefact of model for fake-fp16, only of: "
            "model for fake, other for fake. Run this test there with --accel-cache-dir=main"
        ]
    )


def test_this_runs_own_cache_is_no_opponent(project: Project) -> None:
    project.write_test()
    project.run(workers=True)
    refused(project, "cache").stdout.fnmatch_lines(["E*--accel-against=cache: this is the cache of this run itself*"])


@pytest.mark.parametrize("how", ["it", "a link", "a checkout of links"])
def test_the_tests_own_model_is_no_opponent(project: Project, how: str) -> None:
    project.write_test()
    opponent = Path("model.fake.json")
    if how != "it":
        opponent = project.pytester.path / "other" / "model.fake.json"
        opponent.parent.mkdir()
        opponent.symlink_to(project.pytester.path / "model.fake.json")
    refused(project, opponent if how != "a checkout of links" else opponent.parent).stdout.fnmatch_lines(
        ["E*UsageError: --accel-against=*: *model.fake.json is the model of this test itself; nothing would be *"]
    )


@pytest.mark.parametrize("name", ["python", "python3", "itself"])
def test_the_interpreter_of_this_run_is_no_opponent(project: Project, name: str) -> None:
    project.write_test()
    own = Path(sys.executable)
    path = own if name == "itself" else own.with_name(name)
    refused(project, f"popen//python={path}").stdout.fnmatch_lines(
        ["E*UsageError: --accel-against=*: this is the interpreter of this run itself; nothing would be compared, *"]
    )


def test_a_model_with_other_inputs_is_told(project: Project) -> None:
    fake_model(
        project.pytester.path / "older.fake.json", inputs=[{"name": "x", "dtype": "float32", "shape": [None, 9]}]
    )
    project.write_test()
    refused(project, "older.fake.json").stdout.fnmatch_lines(
        [
            "E*UsageError: --accel-against=older.fake.json cannot be run beside model[[]fake[]]: "
            "input 'x' takes float32[[]None, 9[]], got float32[[]1, 4[]]"
        ]
    )


def test_an_opponent_that_crashes_is_named(project: Project) -> None:
    fake_model(project.pytester.path / "older.fake.json", failures={"load": {"how": "sigsegv"}})
    project.write_test()
    refused(project, "older.fake.json").stdout.fnmatch_lines(
        ["E*WorkerError: --accel-against=older.fake.json cannot be run beside model[[]fake[]]: *the worker *SIGSEGV*"]
    )


def test_a_checkout_without_the_model_is_told(project: Project) -> None:
    project.write_test()
    main = checkout(project)
    (main / "model.fake.json").unlink()
    refused(project, main).stdout.fnmatch_lines(
        [f"E*UsageError: --accel-against={main}: there is no {main}/model.fake.json; *"]
    )


@pytest.mark.parametrize("where", ["..", "cache"], ids=["outside", "exported"])
def test_a_model_that_is_no_file_of_the_project_cannot_be_found_in_a_checkout(project: Project, where: str) -> None:
    folder = project.pytester.path / where
    folder.mkdir(exist_ok=True)
    made = fake_model((folder / f"{project.pytester.path.name}.fake.json").resolve())
    project.pytester.makepyfile(test_model=ONE_TEST.format(marker="", check="").replace("model.fake.json", str(made)))
    refused(project, checkout(project)).stdout.fnmatch_lines(
        ["E*UsageError: *is no file of this project*--accel-cache-dir=DIR, and compare with that: --accel-against=DIR"]
    )


def test_a_stored_baseline_is_neither_needed_nor_read(project: Project) -> None:
    project.write_model(latency_ms=0.5)
    project.write_test("max_regression=0.05")
    project.run("--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    project.write_model(latency_ms=1.0)
    fake_model(project.pytester.path / "older.fake.json", latency_ms=1.0, weights_seed=3)
    result = project.run("--accel-against=older.fake.json", workers=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["pass * ×1.000 *"])
