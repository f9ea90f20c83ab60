"""What a test gets back: plain numbers that also know how sure they are.

``assert model.measure().p99_ms <= 40`` compares plain floats; when it fails, pytest shows the confidence bound and how
many calls it stands on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from pytest_accel import stats

if TYPE_CHECKING:
    from typing_extensions import Self

    from pytest_accel.facts.records import Measurement


class Bounded(float):
    """A number with its confidence bound; arithmetic gives plain floats."""

    def __new__(cls, value: float, *, name: str, bound: str) -> Self:
        """``name`` and ``bound`` are what a failed comparison shows."""
        number = super().__new__(cls, value)
        number.name = name
        number.bound = bound
        return number

    name: str
    bound: str

    @staticmethod
    def explain_comparison(op: str, left: object, right: object) -> list[str]:
        """Return the lines that pytest shows for a comparison that did not hold."""

        def shown(side: object) -> str:
            return f"{side.name} {side:.5g}" if isinstance(side, Bounded) else f"{side!r}"

        bounds = [side.bound for side in (left, right) if isinstance(side, Bounded)]
        return [f"{shown(left)} {op} {shown(right)}", *bounds]


@dataclass(frozen=True)
class Latency:
    """The steady phase of one measurement. ``record`` holds every call's nanoseconds."""

    record: Measurement
    confidence: float
    #: In the order of the calls, because slow calls that come in clusters are worth less than scattered ones.
    _latencies_ms: list[float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_latencies_ms", [ns / 1e6 for ns in self.record.latencies_ns])

    def percentile_ms(self, percentile: float) -> Bounded:
        """Return the nearest-rank percentile (``99`` for p99), with its distribution-free upper bound."""
        bound = stats.quantile_bound(self._latencies_ms, percentile / 100, self.confidence)
        if bound.upper is None:
            enough = ceil(stats.required_samples(percentile / 100, self.confidence) * bound.n / bound.effective_n)
            text = f"{bound.n} calls are too few for a {100 * self.confidence:.4g}% upper bound, which needs {enough}"
        else:
            text = f"{100 * self.confidence:.4g}% upper bound {bound.upper:.5g} ms from {bound.n} calls"
        return Bounded(bound.estimate, name=f"p{percentile:g} ms", bound=text)

    @property
    def p50_ms(self) -> Bounded:
        """Median latency of a call."""
        return self.percentile_ms(50)

    @property
    def p90_ms(self) -> Bounded:
        """90th percentile of the latency of a call."""
        return self.percentile_ms(90)

    @property
    def p95_ms(self) -> Bounded:
        """95th percentile of the latency of a call."""
        return self.percentile_ms(95)

    @property
    def p99_ms(self) -> Bounded:
        """99th percentile of the latency of a call."""
        return self.percentile_ms(99)

    @property
    def p999_ms(self) -> Bounded:
        """99.9th percentile of the latency of a call."""
        return self.percentile_ms(99.9)

    @property
    def throughput(self) -> float:
        """Items per second: items over total time."""
        return self.record.throughput


@dataclass(frozen=True)
class Trial:
    """A server at one ``rate``, in calls a second: whether it ``met`` the rate and every limit, and the ``reason``."""

    rate: float
    met: bool
    latency: Latency
    reason: str


@dataclass(frozen=True)
class HighestRate:
    """The highest ``rate``, in calls a second, that was served within the limits; 0 where no rate that was tried was.

    ``capacity`` is how many calls a second are answered when the next one is always there. ``trials`` are in order.
    """

    rate: Bounded
    capacity: float
    trials: tuple[Trial, ...]
