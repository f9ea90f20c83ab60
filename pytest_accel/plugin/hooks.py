"""This is the plugin. It has every hook that pytest calls, and each hands on in a few lines.

Every pytest run in the environment loads this module, so that it imports the standard library and pytest alone. All
else is imported when the first accelerator test is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.plugin import options
from pytest_accel.plugin.run_summary import RunSummary
from pytest_accel.plugin.state import (
    MARKED,
    MODEL,
    REPORT_DATA,
    SESSION,
    SETTINGS,
    WARNINGS,
    is_accelerator_test,
    is_xdist_worker,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_accel.check.accel_model import AccelModel

#: MARKER is what ``pytest --markers`` prints of our marker.
MARKER = (
    "accelerator(*names, **options_and_budgets): compile, measure and judge the model of this test on these "
    "accelerators; list values make variants, markers add up"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_accel.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    settings = config.stash[SETTINGS] = options.read_settings(config)
    if settings.hosts and not options.runs_no_tests(config):
        from pytest_accel.plugin import hosts

        hosts.arrange(config, settings)
    if not is_xdist_worker(config):
        config.pluginmanager.register(RunSummary(settings), "accel-run-summary")


def pytest_unconfigure(config: pytest.Config) -> None:
    if (session := config.stash.get(SESSION, None)) is not None:
        session.close()


# Collection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    markers = list(metafunc.definition.iter_markers_with_node("accelerator"))
    if markers or "accel_model" in metafunc.fixturenames:
        from pytest_accel.plugin import collection

        collection.parametrize(metafunc, markers)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.stash[SETTINGS].accelerators or any(item.get_closest_marker("accelerator") for item in items):
        from pytest_accel.plugin import collection

        collection.select(config, items)


def pytest_collection_finish(session: pytest.Session) -> None:
    if is_xdist_worker(session.config):
        # Only the workers collect, and only the controller knows in the end what became of all tests.
        marked = [item.nodeid for item in session.items if is_accelerator_test(item)]
        session.config.workeroutput[MARKED] = marked  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> object:
    return True if options.runs_no_tests(session.config) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    if not options.runs_no_tests(session.config):
        return None
    if not is_xdist_worker(session.config):
        from pytest_accel.plugin import without_tests

        without_tests.run(session)
    return True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if (ours := session.config.stash.get(SESSION, None)) is not None:
        ours.delete_deployments()
        if is_xdist_worker(session.config):
            session.config.workeroutput[WARNINGS] = ours.warnings  # type: ignore[attr-defined]


# Running


@pytest.fixture
def accel_model(request: pytest.FixtureRequest) -> Generator[AccelModel]:
    """Compile a model for the accelerator of this variant: ``accel_model(source).check(dataset)``.
    ``source`` is a SavedModel folder, a ``.keras``, ``.onnx`` or ``.pt2`` file, a Keras model or a PyTorch module in
    memory, or a callable without arguments that makes one of these.
    """  # This is one paragraph because pytest --fixtures prints the first one alone.
    from pytest_accel.plugin import running

    model = running.model_for(request)
    yield model
    model.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        return (yield)
    except Exception as error:  # a fixture of the user may have compiled the model
        if (model := item.stash.get(MODEL, None)) is not None:
            from pytest_accel.plugin import running

            running.settle(model, error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    if (model := item.stash.get(MODEL, None)) is None:
        return (yield)
    from pytest_accel.plugin import running

    with running.JudgedCall(model):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if is_accelerator_test(item):
        from pytest_accel.plugin import report_data

        report_data.complete(report, item, call)
    return report


# Reporting: what needs all reports of a run is in `run_summary`.


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    if not hasattr(report, REPORT_DATA):
        return None
    from pytest_accel.plugin import report_data

    kind = report_data.read(report).left_out
    return (kind, kind[0], (kind.upper(), {"yellow": True})) if kind else None


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    for side in (left, right):
        if (explain := getattr(type(side), "explain_comparison", None)) is not None:
            lines: list[str] = explain(op, left, right)
            return lines
    return None


def pytest_report_header(config: pytest.Config) -> str | None:
    settings = config.stash[SETTINGS]
    chosen = (settings.accelerators, settings.save, settings.compare, settings.strict, settings.reports)
    if not (any(chosen) or settings.against or settings.compile_only or settings.hosts):
        return None
    from pytest_accel.report.terminal import header

    return header(settings)
