"""This module is about what the report of an accelerator test carries to the summary of the run.

The summary may be made in another process: pytest sends the plain attributes of a report to xdist's controller. So all
data are one attribute, and it is JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_accel.facts.records import Failure, TestRecord
from pytest_accel.facts.verdicts import NOT_RUN
from pytest_accel.plugin.state import ABSENT, BROKEN, MODEL, REPORT_DATA, session_of
from pytest_accel.report import failure, junit
from pytest_accel.worker.wire import legible

if TYPE_CHECKING:
    from pytest_accel.check.accel_model import AccelModel

#: WORTH_TELLING_S is the shortest wait for a device that a summary names, in seconds.
WORTH_TELLING_S = 1.0


class ReportData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """This is what one report hands on.

    ``absent`` maps an accelerator that this machine does not have to the reason. ``failure`` describes a failed test.
    ``left_out`` is the verdict, such as ``pruned``, on a variant that was not run, as the marker or the run asks for.
    ``measured`` is true where the test has measured something, even without a check. ``records`` has one record for
    each check. ``waited_s`` is the time that the test waited for the device, in seconds, or None where it is short.
    ``warnings`` are sentences about what the run has met so far and no result shows, such as a damaged file.
    """

    absent: dict[str, str] = {}
    failure: Failure | None = None
    left_out: str = ""
    measured: bool = False
    records: tuple[TestRecord, ...] = ()
    waited_s: float | None = None
    warnings: tuple[str, ...] = ()


def write(report: pytest.TestReport, data: ReportData) -> ReportData:
    """Put the data on a report, and return them. Texts that are no UTF-8, such as names of files, are escaped."""
    try:
        encoded = msgspec.json.encode(data)
    except UnicodeEncodeError:
        data = msgspec.convert(legible(msgspec.to_builtins(data)), ReportData)
        encoded = msgspec.json.encode(data)
    setattr(report, REPORT_DATA, encoded.decode())
    return data


def read(report: pytest.TestReport) -> ReportData:
    """Return the data that are on a report. A report without any reads as a test that did nothing."""
    return msgspec.json.decode(getattr(report, REPORT_DATA, "{}"), type=ReportData)


def complete(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Add the data, the properties for JUnit and the last words of the worker to the report of one phase."""
    warnings = tuple(session_of(item.config).warnings)
    data = write(report, msgspec.structs.replace(_data(report, item, call), warnings=warnings))
    item.user_properties.extend(_properties(data))  # JUnit gets those that the report of the teardown has
    if report.when != "teardown" and (details := _details(item, call)):
        report.sections.append(("accelerator's worker", legible(details)))


def _data(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> ReportData:
    absent = item.stash.get(ABSENT, {})
    failed = _failure(report, item, call) if report.failed else None
    if report.when == "teardown":
        return ReportData(absent=absent, failure=failed)
    model = item.stash.get(MODEL, None)
    if model is None or (report.when == "setup" and report.passed):
        return ReportData(absent=absent, failure=failed)
    return ReportData(
        absent=absent,
        failure=failed,
        left_out=_left_out(model, call),
        measured=model.measured_something,
        records=tuple(model.records),
        waited_s=_wait_worth_telling_s(model),
    )


def _properties(data: ReportData) -> Iterator[tuple[str, str | float | int]]:
    if data.waited_s is not None:
        yield "accel.waited_s", data.waited_s
    for record in data.records:
        yield from junit.properties(record)


def _left_out(model: AccelModel, call: pytest.CallInfo[None]) -> str:
    """Return the verdict on a variant that was not run, as the marker or the run asks for. Other skips have none."""
    if call.excinfo is None or not call.excinfo.errisinstance(pytest.skip.Exception):
        return ""
    kinds = ["compiled" if record.compiled_for else record.kind for record in model.records]
    return next((kind for kind in reversed(kinds) if kind in NOT_RUN), "")


def _wait_worth_telling_s(model: AccelModel) -> float | None:
    if model.waited_s is None or model.waited_s < WORTH_TELLING_S:
        return None
    return round(model.waited_s, 1)


def _failure(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> Failure:
    """Describe what failed and where."""
    file, first_line, _ = item.location
    line, message = None, report.longreprtext  # a strict xfail that passed has no exception
    if call.excinfo is not None:
        line, message = failure.line(call.excinfo.value, item.path), failure.message(call.excinfo.value)
    return Failure(
        test=item.nodeid,
        file=file,
        line=line or (first_line or 0) + 1,
        message=message,
        details=_details(item, call),
    )


def _details(item: pytest.Item, call: pytest.CallInfo[None]) -> str:
    """Return what the worker left behind, where the error is a worker's."""
    error = item.stash.get(BROKEN, None) or (call.excinfo.value if call.excinfo is not None else None)
    details: str = getattr(error, "details", "")
    return details
