from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.facts.records import Budgets
from pytest_accel.facts.settings import Host, Saving, Settings
from pytest_accel.plugin.options import BUDGET_OPTIONS, OPTIONS, SETTING_OPTIONS, read_settings


def settings(pytester: pytest.Pytester, *args: str, ini: str = "") -> Settings:
    pytester.makeini(f"[pytest]\n{ini}")
    return read_settings(pytester.parseconfig(*args))


def test_without_a_word_the_defaults_are_those_of_the_settings(pytester: pytest.Pytester) -> None:
    assert settings(pytester) == Settings(rootdir=pytester.path, baseline_dir=pytester.path / "baselines")


def test_every_setting_is_set_by_one_option() -> None:
    by_several_or_none = {"rootdir", "budgets"}
    settings = Counter(option.setting for option in SETTING_OPTIONS)
    assert settings == Counter({field.name for field in fields(Settings)} - by_several_or_none)
    assert BUDGET_OPTIONS.keys() <= set(Budgets.__struct_fields__)


def test_an_option_is_there_once_and_somewhere() -> None:
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)
    assert all(option.flag or option.in_ini for option in OPTIONS)


def test_pytests_help_shows_every_option_with_its_default(pytester: pytest.Pytester) -> None:
    text = " ".join(pytester.runpytest("--help").stdout.str().split())
    for option in OPTIONS:
        assert not option.flag or f"{option.flag}" in text
        assert not option.in_ini or f"{option.name} ({option.type})" in text
    assert "deadline of one compilation, in seconds; default: 3600" in text
    assert "folder of the baselines, relative to the rootdir; default: baselines" in text
    assert "annotate failing tests; default: true" in text


@pytest.mark.parametrize(
    ("args", "field", "value"),
    [
        (["--accelerator=cpu, gpu", "--accelerator=cpu"], "accelerators", ("cpu", "gpu")),
        (["--accel-save-baseline"], "save", Saving("all")),
        (["--accel-save-baseline=new"], "save", Saving("new")),
        (["--accel-save-baseline=release-1.4"], "save", Saving("all", "release-1.4")),
        (["--accel-save-baseline=accept", "--accel-because= it is right "], "save", Saving("accept")),
        (["--accel-save-baseline=accept", "--accel-because= it is right "], "because", "it is right"),
        (["--accel-strict"], "strict", True),
        (["--accel-in-process"], "in_process", True),
        (["--accel-resume"], "resume", True),
        (["--accel-compile-timeout=5"], "compile_timeout_s", 5.0),
        (["--accel-deploy-timeout=5"], "deploy_timeout_s", 5.0),
        (["--accel-run-timeout=0.5"], "run_timeout_s", 0.5),
        (["--accel-baseline-dir=/b"], "baseline_dir", Path("/b")),
        (["--accel-cache-dir=/c"], "cache_dir", Path("/c")),
    ],
)
def test_the_command_line_speaks_of_this_run(
    pytester: pytest.Pytester, args: list[str], field: str, value: Any
) -> None:
    ini = "accel_compile_timeout = 9\naccel_run_timeout = 9\naccel_baseline_dir = x\naccel_cache_dir = x"
    assert getattr(settings(pytester, *args, ini=ini), field) == value


@pytest.mark.parametrize(
    ("ini", "field", "value"),
    [
        ("accel_strict = true", "strict", True),
        ("accel_compile_timeout = 5", "compile_timeout_s", 5.0),
        ("accel_deploy_timeout = 5", "deploy_timeout_s", 5.0),
        ("accel_run_timeout = 5", "run_timeout_s", 5.0),
        ("accel_compare_budget = 60", "compare_budget_s", 60.0),
        ("accel_cache_limit_mb = 100", "cache_limit_mb", 100.0),
        ("accel_confidence = 0.99", "confidence", 0.99),
        ("accel_github = false", "github", False),
        ("accel_instance_type = inf1.xlarge", "instance_type", "inf1.xlarge"),
        ("accel_max_regression = 0.1\naccel_max_load_s = 3", "budgets", {"max_regression": 0.1, "max_load_s": 3.0}),
    ],
)
def test_the_ini_file_speaks_of_the_project(pytester: pytest.Pytester, ini: str, field: str, value: Any) -> None:
    assert getattr(settings(pytester, ini=ini), field) == value


def test_folders_of_the_ini_file_are_the_rootdirs(pytester: pytest.Pytester) -> None:
    found = settings(pytester, ini="accel_baseline_dir = b\naccel_cache_dir = c")
    assert (found.baseline_dir, found.cache_dir) == (pytester.path / "b", pytester.path / "c")


def test_reports_are_written_where_pytest_was_called(pytester: pytest.Pytester) -> None:
    found = settings(pytester, "--accel-report=a.json", "--accel-report=/b.md", "--accel-report=c.html")
    assert found.reports == (pytester.path / "a.json", Path("/b.md"), pytester.path / "c.html")


def test_an_interpreter_is_looked_for_from_the_rootdir(pytester: pytest.Pytester) -> None:
    (pytester.path / "python").touch()
    ini = f"accel_python =\n    inf1 = python\n    gpu={pytester.path / 'python'}"
    assert settings(pytester, ini=ini).interpreters == dict.fromkeys(("inf1", "gpu"), str(pytester.path / "python"))


def test_a_host_of_the_run_takes_the_place_of_the_projects(pytester: pytest.Pytester) -> None:
    ini = "accel_host =\n    gpu-trt=ssh=me@gpu-box//python=/opt/trt/bin/python\n    inf1=ssh=inf-box"
    of_project = {"gpu-trt": Host("me@gpu-box", "/opt/trt/bin/python"), "inf1": Host("inf-box")}
    assert settings(pytester, ini=ini).hosts == of_project
    both = settings(pytester, "--accel-host=inf1=ssh=a", "--accel-host=gpu=ssh=b", ini=ini).hosts
    assert both == {**of_project, "inf1": Host("a"), "gpu": Host("b")}


def test_a_run_in_the_pytest_process_is_on_this_machine(pytester: pytest.Pytester) -> None:
    assert settings(pytester, "--accel-in-process", ini="accel_host = gpu-trt=ssh=gpu-box").hosts == {}


@pytest.mark.parametrize(
    ("args", "ini", "message"),
    [
        (["--accelerator=cpu,"], "", "--accelerator=cpu, has an empty name"),
        (["--accel-report=run.xyz"], "", r"--accel-report=run\.xyz: the suffix says the format"),
        (["--accel-run-timeout=0"], "", "accel_run_timeout=0 must be more than 0"),
        (["--accel-compile-timeout=nan"], "", "accel_compile_timeout=nan must be more than 0"),
        ([], "accel_confidence = 1", "accel_confidence=1.* must be at least 0.5 and below 1"),
        ([], "accel_confidence = 0.4", "accel_confidence=0.4 must be at least 0.5 and below 1"),
        ([], "accel_confidence = high", "ini file, accel_confidence: could not convert string to float: 'high'"),
        ([], "accel_strict = ja", "ini file, accel_strict: invalid truth value 'ja'"),
        ([], "accel_github = ja", "ini file, accel_github: invalid truth value 'ja'"),
        ([], "accel_run_timeout = soon", "ini file, accel_run_timeout: could not convert"),
        ([], "accel_max_load_s = short", "ini file, accel_max_load_s: could not convert"),
        ([], "accel_compare_budget = nan", "accel_compare_budget=nan must be more than 0 seconds"),
        ([], "accel_selftest_budget = 0", "accel_selftest_budget=0 must be more than 0 seconds"),
        ([], "accel_cache_limit_mb = -1", "accel_cache_limit_mb=-1 must be more than 0 MB"),
        ([], "accel_baseline_max_age_days = 0", "accel_baseline_max_age_days=0 must be more than 0 days"),
        (["--accel-save-baseline", "tests"], "", "=tests: to choose tests, write --accel-save-baseline=all tests"),
        (["--accel-save-baseline", "tests/test_x.py"], "", "write --accel-save-baseline=all tests/test_x.py"),
        (["--accel-save-baseline", "test_x.py::test_y"], "", "write --accel-save-baseline=all test_x.py::test_y"),
        (["--accel-save-baseline=a b"], "", "--accel-save-baseline=a b: a name of baselines has letters, digits"),
        (["--accel-save-baseline=accept"], "", "say why the slower models are accepted, with --accel-because=TEXT"),
        (["--accel-save-baseline=accept", "--accel-because= "], "", "say why the slower models are accepted"),
        (["--accel-because=it is right"], "", "--accel-because is the reason for --accel-save-baseline=accept"),
        (["--accel-compare=new"], "", "--accel-compare=new: a name of baselines has letters, digits"),
        (["--accel-compare=v9"], "", r"--accel-compare=v9: no baselines in .* are named 'v9': there are no named ones"),
        (["--accel-compare=v1", "--accel-against=x"], "", "--accel-compare: an opponent takes the place of baselines"),
        ([], "accel_python = inf1", "accel_python: 'inf1' is not NAME=PATH, for example inf1=/opt/"),
        ([], "accel_python = inf1=", "accel_python: 'inf1=' is not NAME=PATH"),
        ([], "accel_python = inf1=none", "accel_python: 'inf1=none': there is no interpreter .*/none"),
        ([], "accel_host = inf1=inf-box", "accel_host: 'inf1=inf-box': 'inf-box' is not KEY=VALUE"),
        (["--accel-host=inf1"], "", "--accel-host: 'inf1' is not NAME=ssh=HOST, for example gpu-trt=ssh="),
        (["--accel-host=inf1=ssh=a", "--accel-host=inf1=ssh=b"], "", "--accel-host: 'inf1=ssh=b': inf1 has a host"),
        (["--accel-host=inf1=ssh=a", "--accel-in-process"], "", "--accel-host: .* so leave --accel-in-process out"),
        (
            [],
            "accel_host = inf1=ssh=a\naccel_python = inf1=tests/python",
            "accel_python: 'inf1=tests/python': accel_host puts that accelerator on another machine, where //python=",
        ),
    ],
)
def test_what_cannot_be_right_names_the_option_and_what_it_takes(
    pytester: pytest.Pytester, args: list[str], ini: str, message: str
) -> None:
    (pytester.mkdir("tests") / "python").touch()
    with pytest.raises(pytest.UsageError, match=message):
        settings(pytester, *args, ini=ini)
