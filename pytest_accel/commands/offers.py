"""Find the cheapest variant that is accurate and fast enough in the records of any number of runs.

The price of a million items is that of an instance which is never idle and has the measured throughput. A variant that
is slower than its baseline may still be the cheapest one that keeps its limits, so regressions do not count here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pytest_accel.commands.prices import Price, usd_per_million
from pytest_accel.facts.verdicts import FAILING, LEFT_OUT
from pytest_accel.report.figures import machine_of

if TYPE_CHECKING:
    from pytest_accel.facts.records import RunRecord, TestRecord

#: _REQUIRED are the questions that a variant has to pass to be advised.
_REQUIRED = frozenset({"measurement", "placement", "accuracy", "sla", "resources"})
#: _AGAINST are the kinds of verdicts that do not pass.
_AGAINST = FAILING | LEFT_OUT | {"inconclusive"}


@dataclass(frozen=True)
class Offer:
    """An offer is one variant of a model on one kind of instance, with its cost.

    ``usd_per_million`` is None where the throughput or the price is not known. ``unpriced`` are the instance types
    without a price. ``against`` is the reason not to advise the variant, or empty. ``host`` is the machine that it was
    measured on, and is empty for the one that pytest ran on.
    """

    model: str
    variant: str
    runs_on: str
    throughput: float | None
    price: Price | None
    usd_per_million: float | None
    unpriced: tuple[str, ...]
    against: str
    host: str = ""

    @property
    def advisable(self) -> bool:
        """Say whether the variant passes and its cost is known."""
        return not self.against and self.usd_per_million is not None


def offers(runs: Iterable[RunRecord], prices: Mapping[str, Price]) -> list[Offer]:
    """Give every variant on every hardware of these runs, by model, with the cheapest advisable one first.

    Of a variant that was checked more than once the last check counts, in the order of ``runs``. One that was compiled
    and not run counts where there is no other.
    """
    records = sorted((record for run in runs for record in run.tests), key=lambda record: not record.compiled_for)
    last = {(record.model, record.variant.id, record.hardware.fingerprint): record for record in records}
    return sorted(
        (_offer(record, prices) for record in last.values()),
        key=lambda offer: (
            offer.model,
            not offer.advisable,
            float("inf") if offer.usd_per_million is None else offer.usd_per_million,
            offer.variant,
        ),
    )


def _offer(record: TestRecord, prices: Mapping[str, Price]) -> Offer:
    throughput = record.measurement.throughput if record.measurement is not None else None
    types = _types(record)
    price = reduce(Price.__add__, map(prices.__getitem__, types)) if types and prices.keys() >= set(types) else None
    cost = None if throughput is None or price is None else usd_per_million(price.usd_per_hour, throughput)
    return Offer(
        model=record.model,
        variant=record.variant.id,
        runs_on=" + ".join(types) or machine_of(record),
        throughput=throughput,
        price=price,
        usd_per_million=cost,
        unpriced=tuple(name for name in types if name not in prices),
        against=_against(record),
        host=record.host,
    )


def _types(record: TestRecord) -> list[str]:
    """List what is paid for by the hour: the type of the instance, and of the accelerator attached to it."""
    identity = record.hardware.identity
    types = [identity.get("instance_type"), identity.get("accelerator_type")]
    return [str(name) for name in types if name] if types[0] else []


def _against(record: TestRecord) -> str:
    """Give the first verdict that keeps the variant from being advised, or nothing."""
    if record.measurement is None:
        return "compiled and not run" if record.compiled_for and record.kind not in FAILING else record.kind
    for verdict in record.verdicts:
        if verdict.question in _REQUIRED and verdict.kind in _AGAINST:
            return f"{verdict.kind}: {verdict.summary}"
    return ""
