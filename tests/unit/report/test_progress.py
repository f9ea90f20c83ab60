from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pytest_accel.report.progress import AnnouncementsOnly, ProgressLine

if TYPE_CHECKING:
    import pytest


class Terminal:
    """What was written, and a clock that is set by hand."""

    def __init__(self, *, rewrites: bool) -> None:
        self.clock_s = 0.0
        self.written: list[str] = []
        self.progress = ProgressLine(self.written.append, rewrites=rewrites, clock=lambda: self.clock_s)


def test_a_terminal_has_one_line_that_is_written_over_and_taken_away() -> None:
    terminal = Terminal(rewrites=True)
    for text in ("compiling", "done"):
        terminal.progress(text)
    assert terminal.written == ["\rcompiling", "\rdone     "]
    terminal.progress.clear()
    terminal.progress.clear()
    assert terminal.written[2:] == ["\r    \r"]


def test_a_line_is_no_longer_than_the_terminal_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((10, 5)))
    terminal = Terminal(rewrites=True)
    terminal.progress("compiling resnet50")
    assert terminal.written == ["\rcompiling"]


def test_elsewhere_there_is_a_line_at_least_every_ten_seconds() -> None:
    terminal = Terminal(rewrites=False)
    terminal.progress("loading")
    for second in range(1, 101):
        terminal.clock_s = second / 4  # as often as somebody who waits for a worker looks at it
        terminal.progress.tick()
    assert terminal.written == [f"\nloading, {spent_s} s so far\n" for spent_s in (8, 16, 24)]


def test_a_terminal_shows_every_second_that_a_step_goes_on() -> None:
    terminal = Terminal(rewrites=True)
    terminal.progress("loading")
    for second in range(1, 17):
        terminal.clock_s = second / 4
        terminal.progress.tick()
    texts = [text.strip() for text in terminal.written]
    assert texts == ["loading", "loading", *(f"loading, {spent_s} s so far" for spent_s in (2, 3, 4))]


def test_elsewhere_a_new_test_begins_a_new_silence() -> None:
    terminal = Terminal(rewrites=False)
    terminal.clock_s = 7
    terminal.progress.clear()
    terminal.clock_s = 14
    terminal.progress("still short")
    assert terminal.written == []


def test_nothing_goes_on_after_the_end_of_a_step() -> None:
    terminal = Terminal(rewrites=False)
    terminal.progress("loading")
    terminal.progress.clear()
    terminal.clock_s = 100
    terminal.progress.tick()
    assert terminal.written == []


def test_a_step_of_known_parts_tells_how_much_longer_it_takes() -> None:
    terminal = Terminal(rewrites=True)
    terminal.progress("computing", "0 of 128 samples", share=0.0)
    terminal.clock_s = 3.0
    terminal.progress("computing", "32 of 128 samples", share=0.25)
    assert terminal.written[-1].strip() == "computing: 32 of 128 samples, about 9 s left"


def test_a_step_of_known_length_tells_how_much_longer_it_takes() -> None:
    terminal = Terminal(rewrites=True)
    terminal.progress("measuring", "100 calls", lasts_s=6.0)
    terminal.clock_s = 4.0
    terminal.progress.tick()
    assert terminal.written[-1].strip() == "measuring: 100 calls, about 2 s left"
    terminal.clock_s = 7.0
    terminal.progress.tick()
    assert terminal.written[-1].strip() == "measuring: 100 calls, 7 s so far"


def test_a_step_that_was_done_before_takes_about_as_long_again() -> None:
    terminal = Terminal(rewrites=True)
    terminal.progress("loading")
    terminal.clock_s = 10.0
    terminal.progress("measuring")
    terminal.progress("loading")
    assert terminal.written[-1].strip() == "loading, about 10 s left"


def test_only_the_thread_that_made_the_line_writes_it() -> None:
    terminal = Terminal(rewrites=True)
    terminal.progress("loading")
    terminal.clock_s = 10.0
    for call in (terminal.progress.tick, lambda: terminal.progress("in a thread")):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert terminal.written == ["\rloading"]


def test_an_announcement_takes_the_place_of_the_line_and_stays() -> None:
    terminal = Terminal(rewrites=True)
    terminal.progress("deploying resnet50")
    terminal.progress.announce("endpoint a is billed")
    terminal.progress.clear()
    assert terminal.written == ["\rdeploying resnet50", "\rendpoint a is billed\n"]


def test_elsewhere_an_announcement_is_a_line_at_once() -> None:
    terminal = Terminal(rewrites=False)
    terminal.progress.announce("endpoint a is billed")
    assert terminal.written == ["\nendpoint a is billed\n"]


def test_what_another_thread_announces_is_written_at_the_next_tick() -> None:
    terminal = Terminal(rewrites=False)
    other = threading.Thread(target=terminal.progress.announce, args=("endpoint a is billed",))
    other.start()
    other.join()
    assert terminal.written == []
    terminal.progress.tick()
    assert terminal.written == ["\nendpoint a is billed\n"]


def test_a_process_without_a_terminal_says_only_what_has_to_stay() -> None:
    written: list[str] = []
    progress = AnnouncementsOnly(written.append)
    progress("deploying", "endpoint a is Creating")
    progress.tick()
    progress.announce("endpoint a is billed")
    progress.clear()
    assert written == ["endpoint a is billed\n"]
