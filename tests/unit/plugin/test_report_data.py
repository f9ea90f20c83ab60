from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pytest_accel.facts.records import Failure
from pytest_accel.plugin.report_data import ReportData, read, write
from pytest_accel.plugin.state import REPORT_DATA
from tests.unit import facts

FAILED = Failure(test="test_a.py::test_a[cpu]", file="test_a.py", line=3, message="slow", details="Traceback")


def report(**attributes: Any) -> pytest.TestReport:
    return pytest.TestReport("test_a.py::test_a", ("test_a.py", 1, "test_a"), {}, "passed", None, "call", **attributes)


def test_what_is_written_on_a_report_is_read_on_the_other_side_of_xdist(pytestconfig: pytest.Config) -> None:
    data = ReportData(
        absent={"gpu": "no GPU"},
        failure=FAILED,
        left_out="pruned",
        measured=True,
        records=(facts.record(), facts.record(test="test_a.py::test_b")),
        waited_s=2.5,
    )
    written = report()
    write(written, data)
    sent = pytestconfig.hook.pytest_report_to_serializable(config=pytestconfig, report=written)
    assert read(pytestconfig.hook.pytest_report_from_serializable(config=pytestconfig, data=sent)) == data


def test_half_a_character_in_a_message_is_written_as_an_escape() -> None:
    written = report()
    data = write(
        written, ReportData(absent={"gpu": "\udc80"}, failure=msgspec.structs.replace(FAILED, message="a \ud800"))
    )
    assert data.failure is not None
    assert (data.absent, data.failure.message) == ({"gpu": r"\udc80"}, r"a \ud800")
    assert read(written) == data


def test_the_data_are_one_plain_attribute() -> None:
    written = report()
    before = set(vars(written))
    write(written, ReportData(measured=True))
    assert set(vars(written)) - before == {REPORT_DATA}
    assert isinstance(getattr(written, REPORT_DATA), str)


def test_any_other_report_says_that_nothing_was_done() -> None:
    assert read(report()) == ReportData()


@pytest.mark.parametrize("text", ['{"records": [{}]}', '{"recrods": []}', "records"])
def test_what_nobody_wrote_is_not_believed(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(report(**{REPORT_DATA: text}))
