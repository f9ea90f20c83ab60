"""The plugin: every hook that pytest calls, each handing on in a few lines.

This module is loaded by every pytest run in the environment, so it imports the standard library and pytest alone; all
else is imported when the first accelerator test is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.plugin import options
from pytest_accel.plugin.run_summary import WAITED, Gathering

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pytest_accel.check.accel_model import AccelModel
    from pytest_accel.facts.errors import WorkerError
    from pytest_accel.facts.progress import Progress
    from pytest_accel.facts.settings import Settings
    from pytest_accel.session.session import Session

#: Seconds that a test waits for its device before the run tells of it.
WORTH_TELLING_S = 1.0
_SETTINGS: pytest.StashKey[Settings] = pytest.StashKey()
_SESSION: pytest.StashKey[Session] = pytest.StashKey()
_MODEL: pytest.StashKey[AccelModel] = pytest.StashKey()
_ABSENT: pytest.StashKey[dict[str, str]] = pytest.StashKey()
_BROKEN: pytest.StashKey[WorkerError] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_accel.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "accelerator(*names, **options_and_budgets): compile, measure and judge the model of this test on these "
        "accelerators; list values make variants, markers add up",
    )
    config.stash[_SETTINGS] = options.read_settings(config)
    if not _is_xdist_worker(config):
        config.pluginmanager.register(Gathering(config.stash[_SETTINGS]), "accel-gathering")


def pytest_unconfigure(config: pytest.Config) -> None:
    if (session := config.stash.get(_SESSION, None)) is not None:
        session.close()


def _session(config: pytest.Config) -> Session:
    """The session of this process, made when first asked for."""
    if _SESSION not in config.stash:
        from pytest_accel.inputs.registry import Registry
        from pytest_accel.session.session import Session

        registry = Registry.discover(config.hook.pytest_accel_accelerators())
        config.stash[_SESSION] = Session(config.stash[_SETTINGS], registry, tell=_progress(config))
    return config.stash[_SESSION]


def _progress(config: pytest.Config) -> Progress:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None or _is_xdist_worker(config):
        from pytest_accel.facts.progress import Silence

        return Silence()
    from pytest_accel.report.progress import ProgressLine

    capture = config.pluginmanager.getplugin("capturemanager")

    def write(text: str) -> None:
        if capture is None:
            terminal.write(text, flush=True)
            return
        with capture.global_and_fixture_disabled():
            terminal.write(text, flush=True)

    return ProgressLine(write, rewrites=terminal.isatty)


def _is_xdist_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


# Collection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    markers = list(metafunc.definition.iter_markers_with_node("accelerator"))
    asks = "accel_model" in metafunc.fixturenames
    if not asks and not markers:
        return
    from pytest_accel.facts.errors import UsageError
    from pytest_accel.plugin import collection

    where = metafunc.definition.nodeid
    try:
        plans = collection.plans(markers, asks=asks, registry=_session(metafunc.config).registry)
    except UsageError as error:
        pytest.fail(f"{where}: {error}", pytrace=False)
    metafunc.parametrize("accel_model", plans, ids=[plan.variant.id for plan in plans], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.stash[_SETTINGS].accelerators
    marked = [item for item in items if item.get_closest_marker("accelerator")]
    if not marked and not wanted:
        return
    from pytest_accel.facts.errors import UsageError
    from pytest_accel.plugin import benchmark_export, collection

    try:
        unwanted = collection.unwanted(marked, wanted, _session(config).registry)
    except UsageError as error:
        raise pytest.UsageError(f"--accelerator: {error}") from None
    options.require_known(config.stash[_SETTINGS].interpreters, _session(config).registry)
    session = _session(config)
    session.comparisons = max(1, len(marked) - len(unwanted))
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in set(unwanted)]
    if benchmark_export.can_export(config):
        for item in marked:
            benchmark_export.mark_for_export(config, item)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> object:
    return True if options.runs_no_tests(session.config) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    if not options.runs_no_tests(session.config):
        return None
    if not _is_xdist_worker(session.config):
        instead = _list_devices if session.config.getoption("accel_list") else _test_the_gate
        instead(session)
    return True


def _list_devices(session: pytest.Session) -> None:
    from pytest_accel.report.devices import table

    _write(session.config, table(_session(session.config).survey()))


def _test_the_gate(session: pytest.Session) -> None:
    from pytest_accel.facts.errors import AccelError
    from pytest_accel.regression.selftest import prove_all
    from pytest_accel.report.selftest import describe

    try:
        for proof in prove_all(_session(session.config)):
            _write(session.config, describe(proof))
            session.testsfailed += not proof.holds
    except AccelError as error:
        raise pytest.UsageError(f"--accel-selftest: {error}") from None


def _write(config: pytest.Config, lines: Iterable[str]) -> None:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    for line in lines:
        if terminal is None:
            print(line)
        else:
            terminal.write_line(line)


# Running


@pytest.fixture
def accel_model(request: pytest.FixtureRequest) -> Generator[AccelModel]:
    """Compile a model for the accelerator of this variant: ``accel_model(source).check(dataset)``.

    ``source`` is a SavedModel folder, a ``.keras`` file, a Keras model in memory, or a function that makes one.
    """
    from pytest_accel.check.accel_model import AccelModel
    from pytest_accel.facts.errors import WorkerError
    from pytest_accel.plugin import benchmark_export

    session = _session(request.config)
    accelerator = request.param.variant.accelerator
    missing = None
    try:
        missing = session.absence(accelerator)
    except WorkerError as error:
        request.node.stash[_BROKEN] = error
    if (broken := request.node.stash.get(_BROKEN, None)) is not None:
        pytest.fail(str(broken), pytrace=False)
    if missing is not None:
        request.node.stash[_ABSENT] = {accelerator: missing}
        if session.settings.strict:
            pytest.fail(f"{accelerator} absent: {missing} (--accel-strict)", pytrace=False)
        pytest.skip(f"{accelerator} absent: {missing}")
    model = AccelModel(session, request.param, test=request.node.nodeid)
    if benchmark_export.can_export(request.config) and "benchmark" not in request.fixturenames:
        model.on_measurement = lambda ns, facts: benchmark_export.export(request, ns, facts)
    request.node.stash[_MODEL] = model
    yield model
    model.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    except Exception as error:  # a fixture of the user's may have compiled the model
        if (model := item.stash.get(_MODEL, None)) is not None:
            _settle(model, error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    if (model := item.stash.get(_MODEL, None)) is None:
        return (yield)
    from pytest_accel.facts.errors import AccelError, BaselineError, CacheError, CompileFailed, UsageError
    from pytest_accel.report.failure import trim

    try:
        result = yield
    except (AccelError, AssertionError) as error:
        _settle(model, error)
        all_said = isinstance(error, BaselineError | CacheError | CompileFailed)  # and the rest is lines of ours
        raise trim(error) from None if all_said else error.__cause__
    try:
        model.require_judged()
    except UsageError as error:  # no line of the test is at fault, so none is shown
        pytest.fail(str(error), pytrace=False)
    return result


def _settle(model: AccelModel, error: Exception) -> None:
    """End the test as its marker says, where its variant was refused or need not be measured."""
    from pytest_accel.facts.errors import CompileFailed, Pruned

    if isinstance(error, Pruned):
        pytest.skip(f"pruned: {error}")
    if isinstance(error, CompileFailed):
        model.refused(error)
        if model.plan.on_compile_error == "xfail":
            pytest.xfail(str(error))
        if model.plan.on_compile_error == "record":
            pytest.skip(f"refused: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    absent, broken = item.stash.get(_ABSENT, None), item.stash.get(_BROKEN, None)
    model = item.stash.get(_MODEL, None)
    if absent is not None:
        report.accel_absent = absent  # type: ignore[attr-defined] # pytest sends what it finds on a report to xdist
    if report.failed and report.when != "teardown" and (absent or broken or model):
        report.accel_failure = _failure(item, call, report)  # type: ignore[attr-defined]
    if report.when != "teardown" and (broken or model) and (details := _details(item, call)):
        report.sections.append(("accelerator's worker", details))
    if model is None or report.when == "teardown" or (report.when == "setup" and report.passed):
        return report
    import msgspec

    from pytest_accel.facts.records import LEFT_OUT
    from pytest_accel.report import junit

    if call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception):
        kinds = [record.kind for record in model.records if record.kind in LEFT_OUT]
        report.accel_left_out = kinds[-1] if kinds else ""  # type: ignore[attr-defined]

    if model.waited_s is not None and model.waited_s >= WORTH_TELLING_S:
        item.user_properties.append((WAITED, round(model.waited_s, 1)))
    for record in model.records:
        item.user_properties.extend(junit.properties(record))  # pytest writes those of the teardown's report
    report.accel_measured = model.measured_something  # type: ignore[attr-defined]
    report.accel_records = [  # type: ignore[attr-defined]
        msgspec.json.encode(record).decode() for record in model.records
    ]
    return report


def _details(item: pytest.Item, call: pytest.CallInfo[None]) -> str:
    error = item.stash.get(_BROKEN, None) or (call.excinfo.value if call.excinfo is not None else None)
    details: str = getattr(error, "details", "")
    return details


def _failure(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> str:
    """What failed and where, as JSON."""
    import msgspec

    from pytest_accel.facts.records import Failure
    from pytest_accel.report import failure

    file, first_line, _ = item.location
    line, message = None, report.longreprtext  # of a strict xfail that passed there is no more
    if call.excinfo is not None:
        line, message = failure.line(call.excinfo.value, item.path), failure.message(call.excinfo.value)
    told = Failure(
        test=item.nodeid,
        file=file,
        line=line or (first_line or 0) + 1,
        message=message,
        details=_details(item, call),
    )
    return msgspec.json.encode(told).decode()


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    kind: str = getattr(report, "accel_left_out", "")
    return (kind, kind[0], (kind.upper(), {"yellow": True})) if kind else None


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    for side in (left, right):
        if (explain := getattr(type(side), "explain_comparison", None)) is not None:
            lines: list[str] = explain(op, left, right)
            return lines
    return None


# Telling; what needs all reports of a run is in `gather`


def pytest_report_header(config: pytest.Config) -> str | None:
    settings = config.stash[_SETTINGS]
    if not (settings.accelerators or settings.save or settings.strict or settings.reports or settings.against):
        return None
    from pytest_accel.report.terminal import header

    return header(settings)
