"""Which commit or version to run next, and how sure that run has to be.

Here is no git and no pytest. A history says which of its points may be the first bad one; the answers narrow it down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_accel.bisect.trial import Answer


class History(Protocol):
    """Commits or versions between a good and a bad one. A point is a commit's hash or a version."""

    @property
    def good(self) -> str:
        """The point that is taken for good."""

    @property
    def bad(self) -> str:
        """The point that is taken for bad."""

    def shown(self, point: str) -> str:
        """Return a point as people name it."""

    def suspects(self, goods: Sequence[str], bad: str) -> list[str]:
        """Return what may be the first bad point, ``bad`` itself included.

        The point that halves the rest best comes first.
        """

    def before(self, point: str) -> list[str]:
        """Return the points right before one: a commit's parents, or the version before it."""


def steps_for(suspects: int) -> int:
    """Return how many answers find one of so many suspects, at worst."""
    return ceil(log2(suspects)) if suspects > 1 else 0


def error_share(spent: float, *, error: float, runs_left: int) -> float:
    """Return the error that the next run may spend, so that all runs together never spend more than ``error``.

    What is left is shared among the runs that are left and one more. So something is always held back, and a run that
    has to be made again can be paid. Errors add up at most (the union bound), whatever the runs have in common.
    """
    return (error - spent) / (runs_left + 1)


@dataclass(frozen=True)
class Narrowed:
    """Where a search stands. ``bad`` is the earliest point known to be bad, ``undecided`` are those in the way.

    ``suspects`` may still be the first bad one, ``bad`` included; ``ask`` is the one to run next, if any.
    """

    bad: str
    suspects: tuple[str, ...]
    undecided: tuple[str, ...]
    ask: str | None


def narrow(history: History, answer_of: Callable[[str], Answer | None]) -> Narrowed:
    """Follow the answers that are known until one is missing, or until nobody can be asked.

    A point without a decision is passed over, and the next best one is asked, as ``git bisect skip`` does.
    """
    goods, bad, passed = [history.good], history.bad, set[str]()
    while True:
        suspects = history.suspects(goods, bad)
        ask = next((point for point in suspects if point != bad and point not in passed), None)
        answer = answer_of(ask) if ask is not None else None
        if ask is None or answer is None:
            return Narrowed(bad, tuple(suspects), tuple(point for point in suspects if point in passed), ask)
        if answer == "good":
            goods.append(ask)
        elif answer == "bad":
            bad = ask
        else:
            passed.add(ask)
