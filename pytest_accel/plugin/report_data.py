"""What the report of an accelerator test carries to the process that sums the run up, and how it is carried.

pytest sends the plain attributes of a report to xdist's controller. So there is one, and it is JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import pytest

from pytest_accel.facts.records import LEFT_OUT, Failure, TestRecord
from pytest_accel.plugin.state import ABSENT, BROKEN, MODEL, REPORT_DATA
from pytest_accel.report import failure, junit

if TYPE_CHECKING:
    from pytest_accel.check.accel_model import AccelModel

#: WORTH_TELLING_S is the shortest wait for a device that a run tells of, in seconds.
WORTH_TELLING_S = 1.0


class ReportData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one report hands on.

    ``absent`` maps an accelerator that this machine does not have to the reason. ``failure`` is there for a test that
    failed. ``left_out`` is the kind of verdict, such as ``pruned``, of a variant that its marker allows to leave out.
    ``measured`` tells whether the test has measured anything, be it by parts, which leave no record. ``records`` are
    those of its checks. ``waited_s`` is how many seconds the test waited for its device, where that is worth telling.
    """

    absent: dict[str, str] = {}
    failure: Failure | None = None
    left_out: str = ""
    measured: bool = False
    records: tuple[TestRecord, ...] = ()
    waited_s: float | None = None


def write(report: pytest.TestReport, data: ReportData) -> None:
    """Put data on a report."""
    setattr(report, REPORT_DATA, msgspec.json.encode(data).decode())


def read(report: pytest.TestReport) -> ReportData:
    """Take the data from a report; one without any has those of a test that did nothing."""
    return msgspec.json.decode(getattr(report, REPORT_DATA, "{}"), type=ReportData)


def complete(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Add what is known of a test to the report of one of its phases.

    These are the data, the properties for JUnit and a section with what the accelerator's worker left behind.
    """
    data = _data(report, item, call)
    write(report, data)
    item.user_properties.extend(_properties(data))  # pytest writes those of the teardown's report
    if report.when != "teardown" and (details := _details(item, call)):
        report.sections.append(("accelerator's worker", details))


def _data(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> ReportData:
    absent = item.stash.get(ABSENT, {})
    if report.when == "teardown":
        return ReportData(absent=absent)
    failed = _failure(report, item, call) if report.failed else None
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
    """The verdict of a variant that was skipped because its marker allows it; other skips have none."""
    if call.excinfo is None or not call.excinfo.errisinstance(pytest.skip.Exception):
        return ""
    kinds = [record.kind for record in model.records if record.kind in LEFT_OUT]
    return kinds[-1] if kinds else ""


def _wait_worth_telling_s(model: AccelModel) -> float | None:
    if model.waited_s is None or model.waited_s < WORTH_TELLING_S:
        return None
    return round(model.waited_s, 1)


def _failure(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> Failure:
    """What failed and where."""
    file, first_line, _ = item.location
    line, message = None, report.longreprtext  # of a strict xfail that passed there is no more
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
    """What the accelerator's worker left behind, where it is the worker that failed."""
    error = item.stash.get(BROKEN, None) or (call.excinfo.value if call.excinfo is not None else None)
    details: str = getattr(error, "details", "")
    return details
