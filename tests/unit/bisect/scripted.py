"""A history without git and a judge without pytest, for tests of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pytest_accel.bisect.trial import Given, Trial
from pytest_accel.facts.records import Ratio

GOOD = (Given(kind="pass", question="accuracy"), Given(kind="pass", question="regression"))
REGRESSED = (Given(kind="pass", question="accuracy"), Given(kind="regressed", question="regression"))
INACCURATE = (Given(kind="inaccurate", question="accuracy"), Given(kind="pass", question="regression"))
CLOSE = (Given(kind="pass", question="accuracy"), Given(kind="inconclusive", question="regression"))
REFUSED = (Given(kind="refused", question="measurement"),)
NOTHING: tuple[Given, ...] = ()


def trial(point: str = "p1", verdicts: tuple[Given, ...] = GOOD, **changed: object) -> Trial:
    facts = {"point": point, "confidence": 0.99, "compare_budget_s": 180.0, "verdicts": verdicts, "reason": "scripted"}
    return Trial(**{**facts, **changed})  # type: ignore[arg-type]


def ratio(estimate: float) -> Ratio:
    bounds = {"lower": estimate - 0.02, "upper": estimate + 0.02}
    return Ratio(estimate=estimate, **bounds, confidence=0.99, launches=10, smallest_caught=0.05)


@dataclass(frozen=True)
class Points:
    """A line of points p0, p1 and so on, of which the first is good and the last is bad."""

    last: int

    @property
    def good(self) -> str:
        return "p0"

    @property
    def bad(self) -> str:
        return f"p{self.last}"

    def shown(self, point: str) -> str:
        return f"point {point}"

    def suspects(self, goods: Sequence[str], bad: str) -> list[str]:
        first, last = max(map(number, goods)) + 1, number(bad)
        inside = sorted(range(first, last), key=lambda at: abs(2 * at - first - last + 1))
        return [*(f"p{at}" for at in inside), bad]

    def before(self, point: str) -> list[str]:
        return [f"p{number(point) - 1}"]


def number(point: str) -> int:
    return int(point[1:])


@dataclass
class Script:
    """A judge: ``verdicts`` says what the test shows at a point, at each of its tries counted from 1."""

    verdicts: Callable[[int, int], tuple[Given, ...]]
    asked: list[tuple[str, float, float]] = field(default_factory=list)
    interrupt_after: int | None = None

    def __call__(self, point: str, *, confidence: float, compare_budget_s: float) -> Trial:
        if len(self.asked) == self.interrupt_after:
            raise KeyboardInterrupt
        self.asked.append((point, confidence, compare_budget_s))
        tries = [each for each in self.asked if each[0] == point]
        shown = self.verdicts(number(point), len(tries))
        return trial(point, shown, confidence=confidence, compare_budget_s=compare_budget_s)

    @property
    def points(self) -> list[str]:
        return [point for point, _, _ in self.asked]
