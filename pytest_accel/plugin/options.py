"""Command line and ini options, and the one place where they become `Settings`.

The command line speaks of this run, the ini file of the project's policy; the command line wins.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.facts.settings import Opponent, Settings, default_lock_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.inputs.registry import Registry

#: Budgets that a project may set for all its tests, as ini keys ``accel_<name>``.
BUDGET_DEFAULTS = (
    "max_accuracy_drop",
    "min_accuracy",
    "max_error_ratio",
    "max_regression",
    "min_on_device",
    "max_memory_mb",
    "max_artefact_mb",
    "max_compile_s",
    "max_load_s",
)


def add_options(parser: pytest.Parser) -> None:
    """Register every option; called by the hook of the same name."""
    group = parser.getgroup("accel", "accelerators: accuracy, latency and regression of compiled models")
    group.addoption(
        "--accelerator",
        action="append",
        dest="accel_accelerators",
        metavar="NAME[,NAME]",
        help="of the tests marked accelerator, run only these accelerators' variants; repeatable",
    )
    group.addoption(
        "--accel-save-baseline",
        nargs="?",
        const="all",
        choices=("all", "new"),
        dest="accel_save_baseline",
        help="write baselines from this run; 'new' writes only missing ones",
    )
    group.addoption(
        "--accel-against",
        dest="accel_against",
        metavar="WHAT",
        help="compare with this, measured here and now, and not with baselines: another interpreter "
        "(popen//python=PATH, or a virtual environment), an older model, the compile cache of another checkout, or the "
        "checkout itself",
    )
    group.addoption(
        "--accel-baseline-dir",
        dest="accel_baseline_dir",
        metavar="DIR",
        help="where baselines are kept; default: baselines",
    )
    group.addoption(
        "--accel-strict",
        action="store_true",
        default=None,
        dest="accel_strict",
        help="fail on absent hardware, missing baselines, inconclusive results and runs without accelerator tests",
    )
    group.addoption(
        "--accel-resume",
        action="store_true",
        dest="accel_resume",
        help="do not measure again what a run that was interrupted had finished, as long as nothing has changed",
    )
    group.addoption(
        "--accel-list",
        action="store_true",
        dest="accel_list",
        help="show which accelerators are present and, for the others, why not; then exit",
    )
    group.addoption(
        "--accel-selftest",
        action="store_true",
        dest="accel_selftest",
        help="prove the gate on this machine: an unchanged network must stay green, a slowed one turn red; then exit",
    )
    group.addoption(
        "--accel-in-process",
        action="store_true",
        dest="accel_in_process",
        help="run models in the pytest process, for a debugger; timings are not judged",
    )
    group.addoption(
        "--accel-report",
        action="append",
        default=[],
        dest="accel_report",
        metavar="PATH",
        help="tell the run in a file: its record (.json), a page with plots (.html) or Markdown (.md); repeatable",
    )
    seconds: dict[str, Any] = {"type": float, "metavar": "S"}
    group.addoption(
        "--accel-compile-timeout",
        dest="accel_compile_timeout",
        help="deadline of one compilation; default: 3600",
        **seconds,
    )
    group.addoption(
        "--accel-run-timeout", dest="accel_run_timeout", help="deadline of one measurement; default: 600", **seconds
    )
    group.addoption(
        "--accel-cache-dir",
        dest="accel_cache_dir",
        metavar="DIR",
        help="where compiled models are kept; default: the user's cache folder",
    )

    parser.addini("accel_baseline_dir", "folder of the baselines, relative to the rootdir", default="baselines")
    parser.addini(
        "accel_first_divergence",
        "tell in the failure of an inaccurate model where it starts to differ from FP32",
        type="bool",
        default=False,
    )
    parser.addini("accel_strict", "same as --accel-strict", type="bool", default=False)
    parser.addini("accel_compile_timeout", "seconds one compilation may take", type="float", default=3600.0)
    parser.addini("accel_run_timeout", "seconds one measurement may take", type="float", default=600.0)
    parser.addini(
        "accel_compare_budget", "seconds after which a comparison gets no more launches", type="float", default=180.0
    )
    parser.addini(
        "accel_selftest_budget", "seconds that --accel-selftest takes for an accelerator", type="float", default=120.0
    )
    parser.addini("accel_cache_dir", "folder of the compile cache; default: the user's cache folder", default="")
    parser.addini("accel_cache_limit_mb", "size the compile cache is kept under", type="float", default=20_000.0)
    parser.addini(
        "accel_lock_dir",
        "folder of the locks that keep a device to one process; default: the machine's temporary folder",
        default="",
    )
    parser.addini("accel_confidence", "confidence of every statistical decision", type="float", default=0.95)
    parser.addini(
        "accel_github",
        "in a job of GitHub Actions, add the run to the step summary and annotate failing tests",
        type="bool",
        default=True,
    )
    parser.addini("accel_instance_type", "instance type, where the machine does not tell it", default="")
    parser.addini("accel_python", "interpreter of an accelerator's worker: NAME=PATH, one a line", type="linelist")
    for name in BUDGET_DEFAULTS:
        parser.addini(f"accel_{name}", f"default of the budget {name}", type="float", default=None)


def runs_no_tests(config: pytest.Config) -> bool:
    """Whether this run tells something else and then ends."""
    return bool(config.getoption("accel_list") or config.getoption("accel_selftest"))


def read_settings(config: pytest.Config) -> Settings:
    """Settings of this session. Raises `pytest.UsageError` that names the option or ini key and what it takes."""
    confidence = _ini(config, "confidence")
    if not 0.5 <= confidence < 1:
        raise pytest.UsageError(f"accel_confidence={confidence} must be at least 0.5 and below 1")
    cache_dir = config.getoption("accel_cache_dir") or config.getini("accel_cache_dir")
    lock_dir = config.getini("accel_lock_dir")
    baseline_dir = config.getoption("accel_baseline_dir") or config.getini("accel_baseline_dir")
    strict = config.getoption("accel_strict")
    if config.getoption("accel_selftest") and config.getoption("accel_in_process"):
        raise pytest.UsageError("--accel-selftest judges processes, so leave --accel-in-process out")
    return Settings(
        rootdir=config.rootpath,
        accelerators=_accelerators(config.getoption("accel_accelerators")),
        strict=_ini(config, "strict") if strict is None else strict,
        baseline_dir=config.rootpath / baseline_dir,
        save=config.getoption("accel_save_baseline"),
        resume=_resume(config),
        in_process=config.getoption("accel_in_process"),
        reports=_reports(config),
        compile_timeout_s=_seconds(config, "compile_timeout"),
        run_timeout_s=_seconds(config, "run_timeout"),
        compare_budget_s=_more_than_zero("compare_budget", _ini(config, "compare_budget"), "seconds"),
        selftest_budget_s=_more_than_zero("selftest_budget", _ini(config, "selftest_budget"), "seconds"),
        cache_dir=config.rootpath / cache_dir if cache_dir else None,
        cache_limit_mb=_more_than_zero("cache_limit_mb", _ini(config, "cache_limit_mb"), "MB"),
        lock_dir=config.rootpath / lock_dir if lock_dir else default_lock_dir(),
        confidence=confidence,
        first_divergence=_ini(config, "first_divergence"),
        github=_ini(config, "github"),
        instance_type=config.getini("accel_instance_type") or None,
        interpreters=_interpreters(config),
        budgets=_budgets(config),
        against=_against(config),
    )


def _accelerators(given: list[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    names = [name.strip() for value in given for name in value.split(",")]
    if not all(names):
        raise pytest.UsageError(f"--accelerator={','.join(given)} has an empty name")
    return tuple(dict.fromkeys(names))


def _reports(config: pytest.Config) -> tuple[Path, ...]:
    paths = tuple(config.invocation_params.dir / path for path in config.getoption("accel_report"))
    if paths:
        from pytest_accel.facts.errors import UsageError
        from pytest_accel.report.write import require_format

        try:
            for path in paths:
                require_format(path)
        except UsageError as error:
            raise pytest.UsageError(f"--accel-report={error}") from None
    return paths


def _ini(config: pytest.Config, name: str) -> Any:
    """The value of an ini key. Of a wrong one pytest's own message names the key in a TOML file only."""
    try:
        return config.getini(f"accel_{name}")
    except (ValueError, pytest.UsageError) as error:  # which of them depends on pytest's version
        said = str(error)
        raise pytest.UsageError(said if f"accel_{name}" in said else f"ini file, accel_{name}: {said}") from None


def _seconds(config: pytest.Config, name: str) -> float:
    from_line = config.getoption(f"accel_{name}")
    return _more_than_zero(name, _ini(config, name) if from_line is None else from_line, "seconds")


def _more_than_zero(name: str, value: float, unit: str) -> float:
    if not value > 0:
        raise pytest.UsageError(f"accel_{name}={value:g} must be more than 0 {unit}")
    return value


def _interpreters(config: pytest.Config) -> dict[str, str]:
    interpreters = {}
    for line in config.getini("accel_python"):
        name, separator, path = line.partition("=")
        if not separator or not path.strip():
            raise pytest.UsageError(f"accel_python: {line!r} is not NAME=PATH, for example inf1=/opt/neuron/bin/python")
        interpreter = config.rootpath / Path(path.strip()).expanduser()
        if not interpreter.is_file():
            raise pytest.UsageError(f"accel_python: {line!r}: there is no interpreter {interpreter}")
        interpreters[name.strip()] = str(interpreter)
    return interpreters


def require_known(interpreters: Mapping[str, str], registry: Registry) -> None:
    """Raise `pytest.UsageError` for an interpreter of no accelerator: its tests would run in another one unnoticed."""
    from pytest_accel.facts.errors import UsageError

    try:
        for name in interpreters:
            registry.reference(name)
    except UsageError as error:
        raise pytest.UsageError(f"accel_python: {error}") from None


def _resume(config: pytest.Config) -> bool:
    resume: bool = config.getoption("accel_resume")
    if resume and config.getoption("accel_against") is not None:
        raise pytest.UsageError("--accel-resume: an opponent is measured here and now, so leave --accel-against out")
    return resume


def _against(config: pytest.Config) -> Opponent | None:
    said = config.getoption("accel_against")
    if said is None:
        return None
    from pytest_accel.facts.errors import UsageError
    from pytest_accel.regression.opponent import opponent_named

    try:
        opponent = opponent_named(said, config.invocation_params.dir)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    if opponent.kind == "interpreter" and config.getoption("accel_in_process"):
        raise pytest.UsageError(
            f"--accel-against={said}: another interpreter cannot be this process, so leave --accel-in-process out"
        )
    return opponent


def _budgets(config: pytest.Config) -> dict[str, float]:
    given = {name: _ini(config, name) for name in BUDGET_DEFAULTS}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        from pytest_accel.facts.errors import UsageError
        from pytest_accel.facts.records import Budgets
        from pytest_accel.inputs.variants import check_budgets

        try:
            check_budgets(Budgets(), given)
        except UsageError as error:
            raise pytest.UsageError(f"ini file, accel_<budget>: {error}") from None
    return given
