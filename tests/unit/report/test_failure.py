from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType

import pytest

from pytest_accel.facts.errors import AccelError
from pytest_accel.report.failure import line, message, trim

OURS = """
class Model:
    def check(self):
        return self.running

    @cached_property
    def running(self):
        with opened():
            raise AccelError("no")

    def evaluate(self, metric):
        return metric()

@contextmanager
def opened():
    yield
"""


@pytest.fixture
def model() -> object:
    """An object of a module of ours."""
    module = ModuleType("pytest_accel.made_up_for_this_test")
    names = {
        "cached_property": cached_property,
        "contextmanager": contextlib.contextmanager,
        "AccelError": AccelError,
    }
    module.__dict__.update(names)
    exec(OURS, module.__dict__)
    return module.__dict__["Model"]()


def lines(of: Callable[[], object]) -> Iterator[str]:
    """The functions in the trimmed traceback of what this raises, outermost first."""
    try:
        of()
    except Exception as error:
        yield from (frame.name for frame in traceback.extract_tb(trim(error).__traceback__))


def test_the_users_line_is_last_whatever_the_standard_library_has_in_between(model: object) -> None:
    def users() -> None:
        model.check()  # type: ignore[attr-defined]

    assert list(lines(users))[1:] == ["users"]


def test_what_a_users_own_function_raised_keeps_its_traceback(model: object) -> None:
    def metric() -> None:
        raise AssertionError("not enough")

    def users() -> None:
        model.evaluate(metric)  # type: ignore[attr-defined]

    assert list(lines(users))[1:] == ["users", "evaluate", "metric"]


def test_an_assertion_of_the_users_own_is_left_alone() -> None:
    def users() -> None:
        with contextlib.ExitStack():
            raise AssertionError("not equal")

    assert list(lines(users))[1:] == ["users"]


def test_an_error_with_no_line_of_the_users_is_left_alone(model: object) -> None:
    with pytest.raises(AccelError) as caught:
        model.check()  # type: ignore[attr-defined]
    inside = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
    assert len(traceback.extract_tb(trim(inside).__traceback__)) == 3


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AccelError("no such model; name one"), "no such model; name one"),
        (AssertionError("assert 2 <= 1"), "assert 2 <= 1"),
        (AssertionError(), "AssertionError"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_a_message_tells_its_kind_unless_it_was_written_for_the_author(error: Exception, text: str) -> None:
    assert message(error) == text


def test_the_line_of_a_failure_is_the_innermost_of_the_file() -> None:
    def fails() -> None:
        raise AccelError

    with pytest.raises(AccelError) as caught:
        fails()
    assert line(caught.value, Path(__file__)) == fails.__code__.co_firstlineno + 1
    assert line(caught.value, Path("another.py")) is None
