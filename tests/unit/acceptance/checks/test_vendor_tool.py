from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance import beside_vendor
from pytest_accel.acceptance.beside_vendor import Played
from pytest_accel.acceptance.checks import vendor_tool
from pytest_accel.acceptance.checks.vendor_tool import LOOKS, check_vendor_tool
from pytest_accel.acceptance.finding import Broken, NotApplicable
from pytest_accel.session.session import Session
from pytest_accel.worker.accelerator import VendorTool

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject

TOOL = VendorTool("bench", (), "begin")


def rounds(monkeypatch: pytest.MonkeyPatch, *ours_ms: float) -> list[int]:
    """Rounds in which ours takes so long and the tool one millisecond; how many were played."""
    played: list[int] = []
    monkeypatch.setattr(Session, "forked_client", lambda *_: nullcontext())

    def play(beside: object, ours: object) -> Played:
        latency_ns = round(ours_ms[len(played) % len(ours_ms)] * 1e6)
        played.append(latency_ns)
        return Played(TOOL, [latency_ns], latency_ns, "Median: 1.0", 0.0)

    monkeypatch.setattr(beside_vendor.Beside, "play", play)
    return played


def test_two_that_agree_hold_after_few_rounds(in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    played = rounds(monkeypatch, 1.01, 0.99)
    found = check_vendor_tool(in_processes)
    assert found.outcome == "held"
    assert "bench 1 ms" in found.reason
    assert len(played) == LOOKS[0]
    assert in_processes.raw_answers == {"vendor-tool.txt": "Median: 1.0"}


@pytest.mark.parametrize("ours_ms", [1.08, 0.92])
def test_two_that_do_not_agree_fail(in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch, ours_ms: float) -> None:
    rounds(monkeypatch, ours_ms)
    with pytest.raises(Broken, match="times; more than 5% apart"):
        check_vendor_tool(in_processes)


def test_a_noisy_machine_is_inconclusive(in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    played = rounds(monkeypatch, 0.8, 1.25)
    assert check_vendor_tool(in_processes).outcome == "inconclusive"
    assert len(played) == LOOKS[-1]


def test_where_time_is_up_the_rounds_that_were_played_decide(
    in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = rounds(monkeypatch, *[1.06] * 3, *[1.0] * 21)  # of twelve, three are too many to be sure
    clock = SimpleNamespace(monotonic=lambda: len(played) * vendor_tool.MOST_S / 19.5)
    monkeypatch.setattr(vendor_tool, "time", clock)
    found = check_vendor_tool(in_processes)
    assert (found.outcome, found.numbers["rounds"], len(played)) == ("held", 20, 20)


def test_one_round_decides_nothing(in_processes: FakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    played = rounds(monkeypatch, 1.0)
    monkeypatch.setattr(vendor_tool, "MOST_S", -1.0)
    found = check_vendor_tool(in_processes)
    assert (found.outcome, found.reason) == ("inconclusive", "too few rounds in -1 s: 1")
    assert len(played) == 1


def test_one_without_a_tool_is_not_compared(in_processes: FakeSubject) -> None:
    with pytest.raises(NotApplicable, match="fake names no tool of its vendor"):
        check_vendor_tool(in_processes)
