"""These functions turn what a user gave an option into the value of a setting.

What cannot be right is a `pytest.UsageError`. It names the option or ini key and what that takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

import pytest

from pytest_accel.facts.settings import Opponent, SaveMode, Saving, default_lock_dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_accel.facts.settings import Host, Settings
    from pytest_accel.inputs.registry import Registry


class Given(NamedTuple):
    """This is what the user gave an option. Where that is nothing, ``value`` is the default."""

    name: str
    value: Any
    config: pytest.Config


def as_given(given: Given) -> Any:
    """Return the value itself."""
    return given.value


def text(given: Given) -> str | None:
    """Return a text, or None for an empty one."""
    return given.value or None


def folder(given: Given) -> Path:
    """Return a folder. A relative one starts from the rootdir."""
    path: str = given.value
    return given.config.rootpath / path


def own_folder(given: Given) -> Path | None:
    """Return a folder as `folder` does, or None for the user's own."""
    return folder(given) if given.value else None


def lock_folder(given: Given) -> Path:
    """Return a folder as `folder` does, or the one of this user on this machine."""
    return folder(given) if given.value else default_lock_dir()


def seconds(given: Given) -> float:
    """Return a duration that is more than 0."""
    return _more_than_zero(given, "seconds")


def megabytes(given: Given) -> float:
    """Return a size that is more than 0."""
    return _more_than_zero(given, "MB")


def days(given: Given) -> float:
    """Return an age that is more than 0."""
    return _more_than_zero(given, "days")


def _more_than_zero(given: Given, unit: str) -> float:
    value: float = given.value
    if not value > 0:
        raise pytest.UsageError(f"{given.name}={value:g} must be more than 0 {unit}")
    return value


def confidence(given: Given) -> float:
    """Return a confidence with which something can be decided."""
    value: float = given.value
    if not 0.5 <= value < 1:
        raise pytest.UsageError(f"{given.name}={value} must be at least 0.5 and below 1")
    return value


def accelerators(given: Given) -> tuple[str, ...] | None:
    """Return the names that one or several uses of the option give, each once; None where there is no use."""
    if given.value is None:
        return None
    names = [name.strip() for value in given.value for name in value.split(",")]
    if not all(names):
        raise pytest.UsageError(f"--accelerator={','.join(given.value)} has an empty name")
    return tuple(dict.fromkeys(names))


def reports(given: Given) -> tuple[Path, ...]:
    """Return files of known formats. A relative one starts from the folder that pytest was called in."""
    paths = tuple(given.config.invocation_params.dir / path for path in given.value or ())
    if paths:
        from pytest_accel.facts.errors import UsageError
        from pytest_accel.report.write import require_format

        try:
            for path in paths:
                require_format(path)
        except UsageError as error:
            raise pytest.UsageError(f"--accel-report={error}") from None
    return paths


def interpreters(given: Given) -> dict[str, str]:
    """Return the interpreter of each accelerator that is named. A relative path starts from the rootdir."""
    found = {}
    for line in given.value:
        name, separator, path = line.partition("=")
        if not separator or not path.strip():
            raise pytest.UsageError(f"accel_python: {line!r} is not NAME=PATH, for example inf1=/opt/neuron/bin/python")
        interpreter = given.config.rootpath / Path(path.strip()).expanduser()
        if not interpreter.is_file():
            raise pytest.UsageError(f"accel_python: {line!r}: there is no interpreter {interpreter}")
        found[name.strip()] = str(interpreter)
    return found


def hosts(given: Given) -> dict[str, Host]:
    """Return the host of each accelerator that is on another machine, by the ini file or by the command line.

    Where both name an accelerator, the command line wins. A run in the pytest process is on this machine.
    """
    config = given.config
    of_project = _hosts("accel_host", config.getini("accel_host"))
    of_run = _hosts("--accel-host", config.getoption("accel_host") or ())
    _require_one_interpreter(of_project, config.getini("accel_python"))
    if not config.getoption("accel_in_process"):
        return {**of_project, **of_run}
    if of_run:
        raise pytest.UsageError(
            "--accel-host: no other machine can be the pytest process, so leave --accel-in-process out"
        )
    return {}


def _hosts(option: str, lines: Sequence[str]) -> dict[str, Host]:
    if not lines:
        return {}
    from pytest_accel.facts.errors import UsageError
    from pytest_accel.inputs.hosts import read_hosts

    try:
        return read_hosts(lines)
    except UsageError as error:
        raise pytest.UsageError(f"{option}: {error}") from None


def _require_one_interpreter(hosts: Mapping[str, Host], interpreters: Sequence[str]) -> None:
    """Raise `pytest.UsageError` where the ini file names an interpreter here and one on another machine."""
    for line in interpreters:
        if line.partition("=")[0].strip() in hosts:
            raise pytest.UsageError(
                f"accel_python: {line!r}: accel_host puts that accelerator on another machine, where //python=PATH "
                "names the interpreter, so leave one of them out"
            )


def require_known(settings: Settings, registry: Registry) -> None:
    """Raise `pytest.UsageError` for a name that no accelerator has: its interpreter or host would never be used."""
    from pytest_accel.facts.errors import UsageError

    for option, names in (("accel_python", settings.interpreters), ("accel_host or --accel-host", settings.hosts)):
        try:
            for name in names:
                registry.reference(name)
        except UsageError as error:
            raise pytest.UsageError(f"{option}: {error}") from None


def resume(given: Given) -> bool:
    """Say whether to resume. An opponent rules that out."""
    if given.value and given.config.getoption("accel_against") is not None:
        raise pytest.UsageError("--accel-resume: an opponent is measured here and now, so leave --accel-against out")
    return bool(given.value)


def saving(given: Given) -> Saving | None:
    """Return which baselines this run writes, or None where it writes none."""
    text: str | None = given.value
    option, config = f"--accel-save-baseline={text}", given.config
    if text != "accept" and config.getoption("accel_because"):
        raise pytest.UsageError("--accel-because is the reason for --accel-save-baseline=accept, which is not given")
    if text is None:
        return None
    if text == "accept" and not (config.getoption("accel_because") or "").strip():
        raise pytest.UsageError(f"{option}: say why the slower models are accepted, with --accel-because=TEXT")
    if text in get_args(SaveMode):
        return Saving(cast("SaveMode", text))
    if "/" in text or "::" in text or (config.invocation_params.dir / text).exists():
        raise pytest.UsageError(f"{option}: to choose tests, write --accel-save-baseline=all {text}")
    _require_name(option, text)
    return Saving("all", text)


def reason(given: Given) -> str:
    """Return a text without white space around it."""
    return str(given.value).strip()


def compared(given: Given) -> str:
    """Return the name of the baselines that this run is compared with, which is empty for the default ones."""
    name: str = given.value
    if not name:
        return ""
    if given.config.getoption("accel_against") is not None:
        raise pytest.UsageError(
            "--accel-compare: an opponent takes the place of baselines, so leave --accel-against out"
        )
    _require_name(f"--accel-compare={name}", name)
    return name


def require_compared(settings: Settings) -> None:
    """Raise `pytest.UsageError` where there are no baselines of the name that this run is to be compared with."""
    if not settings.compare:
        return
    from pytest_accel.facts.errors import UsageError
    from pytest_accel.store.named_baselines import require

    try:
        require(settings.baseline_dir, settings.compare)
    except UsageError as error:
        raise pytest.UsageError(f"--accel-compare={settings.compare}: {error}") from None


def _require_name(option: str, text: str) -> None:
    from pytest_accel.store.named_baselines import is_name

    if not is_name(text):
        raise pytest.UsageError(
            f"{option}: a name of baselines has letters, digits, '_', '-' and '.', for example release-1.4"
        )


def compile_only(given: Given) -> bool:
    """Say whether to compile and run nothing. What has to run rules that out."""
    reasons = {
        "--accel-against": "a comparison runs both sides",
        "--accel-resume": "the compile cache has what an interrupted run has made",
        "--accel-selftest": "the gate is proved by running models",
    }
    for flag, reason in reasons.items() if given.value else ():
        if given.config.getoption(flag):
            raise pytest.UsageError(f"--accel-compile-only runs no model, so leave {flag} out: {reason}")
    return bool(given.value)


def opponent(given: Given) -> Opponent | None:
    """Return the opponent, or None where none is named."""
    name: str | None = given.value
    if name is None:
        return None
    from pytest_accel.facts.errors import UsageError
    from pytest_accel.regression.opponent import opponent_named

    try:
        named = opponent_named(name, given.config.invocation_params.dir, given.config.rootpath)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    if named.kind == "interpreter" and given.config.getoption("accel_in_process"):
        raise pytest.UsageError(
            f"--accel-against={name}: another interpreter cannot be this process, so leave --accel-in-process out"
        )
    return named


def budgets(values: Mapping[str, float | None]) -> dict[str, float]:
    """Return the budgets that the project sets for all tests. A value of None sets nothing."""
    found = {name: value for name, value in values.items() if value is not None}
    if found:
        from pytest_accel.facts.errors import UsageError
        from pytest_accel.facts.records import Budgets
        from pytest_accel.inputs.variants import check_budgets

        try:
            check_budgets(Budgets(), found)
        except UsageError as error:
            raise pytest.UsageError(f"ini file, accel_<budget>: {error}") from None
    return found
