"""This module has one table of all options. pytest's parser and the `Settings` are both made from it.

The command line speaks of this run, the ini file of the project's policy. Where both say something, the command line
wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import pytest

from pytest_accel.facts.settings import Settings
from pytest_accel.plugin import option_values
from pytest_accel.plugin.option_values import Given, as_given


class OptionSpec(NamedTuple):
    """This describes one option: a flag of the command line, a key of the ini file, or both.

    ``name`` is the ini key, and `pytest.Config.getoption` finds the command line's value under it. ``setting`` is the
    field of `Settings` that the option sets, and ``read`` makes the value of that field. An option that sets no field
    of its own has an empty ``setting``. ``arguments`` are more keywords for pytest's ``addoption``.

    It is a named tuple because every pytest run makes this class, and a dataclass takes seven times as long to make.
    """

    name: str
    help: str
    flag: str = ""
    in_ini: bool = False
    type: Literal["string", "bool", "float", "linelist"] = "string"
    default: Any = None
    setting: str = ""
    read: Callable[[Given], Any] = as_given
    arguments: Mapping[str, Any] = MappingProxyType({})

    @property
    def text(self) -> str:
        """Return what pytest's help prints: the help and, where that is more than nothing, the default."""
        if not self.default:
            return self.help
        shown = f"{self.default:g}" if self.type == "float" else str(self.default).lower()
        return f"{self.help}; default: {shown}"


#: _SECONDS shows in the help that a flag takes a number of seconds.
_SECONDS = {"metavar": "S"}
#: _FOLDER shows in the help that a flag takes a folder.
_FOLDER = {"metavar": "DIR"}

#: SETTING_OPTIONS are the options that set one field of `Settings` each, in the order in which pytest's help has them.
SETTING_OPTIONS = (
    OptionSpec(
        "accel_accelerators",
        "of the tests marked accelerator, run only these accelerators' variants; repeatable",
        flag="--accelerator",
        setting="accelerators",
        read=option_values.accelerators,
        arguments={"action": "append", "metavar": "NAME[,NAME]"},
    ),
    OptionSpec(
        "accel_save_baseline",
        "write baselines from this run: 'all' (the default), 'new' for missing ones alone, 'accept' also for models "
        "that got slower, or a NAME to keep them under beside the others",
        flag="--accel-save-baseline",
        setting="save",
        read=option_values.saving,
        arguments={"nargs": "?", "const": "all", "metavar": "WHICH"},
    ),
    OptionSpec(
        "accel_because",
        "the reason why --accel-save-baseline=accept accepts slower models; it stands in their baselines",
        flag="--accel-because",
        default="",
        setting="because",
        read=option_values.reason,
        arguments={"metavar": "TEXT"},
    ),
    OptionSpec(
        "accel_compare",
        "compare with the baselines of this name",
        flag="--accel-compare",
        default="",
        setting="compare",
        read=option_values.compared,
        arguments={"metavar": "NAME"},
    ),
    OptionSpec(
        "accel_against",
        "compare with this, measured here and now, and not with baselines: another interpreter (popen//python=PATH, a "
        "virtual environment, or ssh=HOST//python=PATH), an older model, the compile cache of another checkout, or the "
        "checkout itself",
        flag="--accel-against",
        setting="against",
        read=option_values.opponent,
        arguments={"metavar": "WHAT"},
    ),
    OptionSpec(
        "accel_baseline_dir",
        "folder of the baselines, relative to the rootdir",
        flag="--accel-baseline-dir",
        in_ini=True,
        default="baselines",
        setting="baseline_dir",
        read=option_values.folder,
        arguments=_FOLDER,
    ),
    OptionSpec(
        "accel_baseline_max_age_days",
        "age in days from which on a baseline is told, since its slack hides regressions",
        in_ini=True,
        type="float",
        default=Settings.baseline_max_age_days,
        setting="baseline_max_age_days",
        read=option_values.days,
    ),
    OptionSpec(
        "accel_history",
        "add what this run measures to the history beside the baselines, which pytest-accel history shows",
        flag="--accel-history",
        in_ini=True,
        type="bool",
        default=Settings.history,
        setting="history",
    ),
    OptionSpec(
        "accel_strict",
        "fail on absent hardware, missing baselines, inconclusive results and runs without accelerator tests",
        flag="--accel-strict",
        in_ini=True,
        type="bool",
        default=Settings.strict,
        setting="strict",
    ),
    OptionSpec(
        "accel_resume",
        "do not measure again what a run that was interrupted had finished, as long as nothing has changed",
        flag="--accel-resume",
        type="bool",
        default=Settings.resume,
        setting="resume",
        read=option_values.resume,
    ),
    OptionSpec(
        "accel_compile_only",
        "compile every model or take it from the cache, judge what that tells, and run none; for machines without the "
        "hardware",
        flag="--accel-compile-only",
        type="bool",
        default=Settings.compile_only,
        setting="compile_only",
        read=option_values.compile_only,
    ),
    OptionSpec(
        "accel_in_process",
        "run models in the pytest process, for a debugger; timings are not judged",
        flag="--accel-in-process",
        type="bool",
        default=Settings.in_process,
        setting="in_process",
    ),
    OptionSpec(
        "accel_report",
        "report the run in a file: its record (.json), a page with plots (.html), a comment in Markdown (.md), metrics "
        "for Prometheus (.prom), Bencher (.bmf.json) or github-action-benchmark (.gab.json); repeatable",
        flag="--accel-report",
        setting="reports",
        read=option_values.reports,
        arguments={"action": "append", "metavar": "PATH"},
    ),
    OptionSpec(
        "accel_compile_timeout",
        "deadline of one compilation, in seconds",
        flag="--accel-compile-timeout",
        in_ini=True,
        type="float",
        default=Settings.compile_timeout_s,
        setting="compile_timeout_s",
        read=option_values.seconds,
        arguments=_SECONDS,
    ),
    OptionSpec(
        "accel_run_timeout",
        "deadline of one measurement, in seconds",
        flag="--accel-run-timeout",
        in_ini=True,
        type="float",
        default=Settings.run_timeout_s,
        setting="run_timeout_s",
        read=option_values.seconds,
        arguments=_SECONDS,
    ),
    OptionSpec(
        "accel_deploy_timeout",
        "deadline of one deployment to a remote service, and of deleting it again, in seconds",
        flag="--accel-deploy-timeout",
        in_ini=True,
        type="float",
        default=Settings.deploy_timeout_s,
        setting="deploy_timeout_s",
        read=option_values.seconds,
        arguments=_SECONDS,
    ),
    OptionSpec(
        "accel_compare_budget",
        "seconds after which a comparison gets no more launches",
        in_ini=True,
        type="float",
        default=Settings.compare_budget_s,
        setting="compare_budget_s",
        read=option_values.seconds,
    ),
    OptionSpec(
        "accel_selftest_budget",
        "seconds that --accel-selftest takes for an accelerator",
        in_ini=True,
        type="float",
        default=Settings.selftest_budget_s,
        setting="selftest_budget_s",
        read=option_values.seconds,
    ),
    OptionSpec(
        "accel_cache_dir",
        "folder of the compile cache, relative to the rootdir; default: the user's cache folder",
        flag="--accel-cache-dir",
        in_ini=True,
        default="",
        setting="cache_dir",
        read=option_values.own_folder,
        arguments=_FOLDER,
    ),
    OptionSpec(
        "accel_cache_limit_mb",
        "size in megabytes that the compile cache is kept under",
        in_ini=True,
        type="float",
        default=Settings.cache_limit_mb,
        setting="cache_limit_mb",
        read=option_values.megabytes,
    ),
    OptionSpec(
        "accel_lock_dir",
        "folder of the locks that keep a device to one process; default: the machine's temporary folder",
        in_ini=True,
        default="",
        setting="lock_dir",
        read=option_values.lock_folder,
    ),
    OptionSpec(
        "accel_lock_timeout",
        "seconds that a test waits for a device or a cache entry that another process has locked",
        in_ini=True,
        type="float",
        default=Settings.lock_timeout_s,
        setting="lock_timeout_s",
        read=option_values.seconds,
    ),
    OptionSpec(
        "accel_confidence",
        "confidence of every statistical decision, as a fraction",
        in_ini=True,
        type="float",
        default=Settings.confidence,
        setting="confidence",
        read=option_values.confidence,
    ),
    OptionSpec(
        "accel_first_divergence",
        "tell in the failure of an inaccurate model where it starts to differ from FP32",
        in_ini=True,
        type="bool",
        default=Settings.first_divergence,
        setting="first_divergence",
    ),
    OptionSpec(
        "accel_profile_regressions",
        "tell in the failure of a slower model which operators got slower, by the runtime's own profiler",
        in_ini=True,
        type="bool",
        default=Settings.profile_regressions,
        setting="profile_regressions",
    ),
    OptionSpec(
        "accel_github",
        "in a job of GitHub Actions, add the run to the step summary and annotate failing tests",
        in_ini=True,
        type="bool",
        default=Settings.github,
        setting="github",
    ),
    OptionSpec(
        "accel_instance_type",
        "instance type, where the machine does not tell it",
        in_ini=True,
        default="",
        setting="instance_type",
        read=option_values.text,
    ),
    OptionSpec(
        "accel_python",
        "interpreter of an accelerator's worker: NAME=PATH, one a line",
        in_ini=True,
        type="linelist",
        default=(),
        setting="interpreters",
        read=option_values.interpreters,
    ),
    OptionSpec(
        "accel_host",
        "machine that an accelerator is on, which ssh reaches, where it is another one: NAME=ssh=HOST, with "
        "//python=PATH for the interpreter there and //env:VARIABLE=VALUE; one a line, the option is repeatable",
        flag="--accel-host",
        in_ini=True,
        type="linelist",
        default=(),
        setting="hosts",
        read=option_values.hosts,
        arguments={"action": "append", "metavar": "NAME=ssh=HOST"},
    ),
)
#: COMMAND_OPTIONS make a run do something other than running tests.
COMMAND_OPTIONS = (
    OptionSpec(
        "accel_list",
        "show which accelerators are present and, for the others, why not; then exit",
        flag="--accel-list",
        type="bool",
        default=False,
    ),
    OptionSpec(
        "accel_selftest",
        "prove the gate on this machine: an unchanged network must stay green, a slowed one turn red; then exit",
        flag="--accel-selftest",
        type="bool",
        default=False,
    ),
)
#: BUDGET_OPTIONS are the budgets that a project may set for all its tests, by name.
BUDGET_OPTIONS = {
    name: OptionSpec(f"accel_{name}", f"default of the budget {name}", in_ini=True, type="float")
    for name in (
        "max_accuracy_drop",
        "min_accuracy",
        "max_error_ratio",
        "max_regression",
        "max_creep",
        "min_on_device",
        "max_memory_mb",
        "max_artefact_mb",
        "max_compile_s",
        "max_load_s",
    )
}
#: OPTIONS are all options; their flags and ini keys are the plugin's interface.
OPTIONS = (*SETTING_OPTIONS, *COMMAND_OPTIONS, *BUDGET_OPTIONS.values())


def add_options(parser: pytest.Parser) -> None:
    """Register every option with pytest."""
    group = parser.getgroup("accel", "accelerators: accuracy, latency and regression of compiled models")
    for option in OPTIONS:
        if option.flag:
            group.addoption(option.flag, dest=option.name, help=option.text, **_arguments(option))
        if option.in_ini:
            parser.addini(option.name, option.text, type=option.type, default=option.default)


def _arguments(option: OptionSpec) -> dict[str, Any]:
    """Return keywords for pytest's ``addoption``. What the command line does not name is None."""
    kinds: dict[str, dict[str, Any]] = {"bool": {"action": "store_true"}, "float": {"type": float}}
    return {"default": None, **kinds.get(option.type, {}), **option.arguments}


def runs_no_tests(config: pytest.Config) -> bool:
    """Say whether this run does something else in place of running tests."""
    return any(config.getoption(option.name) for option in COMMAND_OPTIONS)


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this session.

    Raise `pytest.UsageError` for what cannot be right. It names the option or ini key and what that takes.
    """
    if config.getoption("accel_selftest") and config.getoption("accel_in_process"):
        raise pytest.UsageError("--accel-selftest judges processes, so leave --accel-in-process out")
    if config.getoption("accel_selftest") and config.getoption("collectonly"):
        raise pytest.UsageError("--accel-selftest runs no tests, so leave --collect-only out")
    settings = Settings(
        rootdir=config.rootpath,
        budgets=option_values.budgets({name: _value(config, option) for name, option in BUDGET_OPTIONS.items()}),
        **{
            option.setting: option.read(Given(option.name, _value(config, option), config))
            for option in SETTING_OPTIONS
        },
    )
    option_values.require_compared(settings)
    return settings


def _value(config: pytest.Config, option: OptionSpec) -> Any:
    """Return what the command line gives an option, else the ini file, else the default."""
    value = config.getoption(option.name) if option.flag else None
    if option.in_ini and value in (None, ""):
        return _ini(config, option.name)
    return option.default if value is None else value


def _ini(config: pytest.Config, name: str) -> Any:
    """Return the value of an ini key. An error names the key, which pytest's own does in a TOML file alone."""
    try:
        return config.getini(name)
    except (ValueError, pytest.UsageError) as error:  # which of them depends on pytest's version
        message = str(error)
        raise pytest.UsageError(message if name in message else f"ini file, {name}: {message}") from None
