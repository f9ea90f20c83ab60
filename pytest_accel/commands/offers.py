"""Which accelerator is the cheapest one that is accurate and fast enough? Asked of the records of any number of runs.

A million items are priced at the throughput that was measured, on an instance that is never idle. Whether a variant is
slower than its baseline does not matter here: it may be, and still be the cheapest that holds what it has to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from pytest_accel.commands.prices import Price, usd_per_million
from pytest_accel.facts.records import FAILING, LEFT_OUT, RunRecord, TestRecord

#: Verdicts on anything else do not keep a variant from being advised.
_HAS_TO_HOLD = frozenset({"measurement", "placement", "accuracy", "sla", "resources"})
_AGAINST = FAILING | LEFT_OUT | {"inconclusive"}


@dataclass(frozen=True)
class Offer:
    """One variant of a model on one kind of instance: what it costs, and why it cannot be advised, if so.

    ``usd_per_million`` is None where the throughput or the price is not known; ``unpriced`` are the types without one.
    """

    model: str
    variant: str
    runs_on: str
    throughput: float | None
    price: Price | None
    usd_per_million: float | None
    unpriced: tuple[str, ...]
    against: str

    @property
    def advisable(self) -> bool:
        """Whether it passes and its cost is known."""
        return not self.against and self.usd_per_million is not None


def offers(runs: Iterable[RunRecord], prices: Mapping[str, Price]) -> list[Offer]:
    """Every variant on every hardware of these runs, by model, the advisable and cheap ones first.

    A variant that was checked more than once counts as it was checked last, in the order of ``runs``.
    """
    last = {
        (record.model, record.variant.id, record.hardware.fingerprint): record for run in runs for record in run.tests
    }
    found = [_offer(record, prices) for record in last.values()]
    return sorted(
        found,
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
        runs_on=" + ".join(types) or record.hardware.fingerprint,
        throughput=throughput,
        price=price,
        usd_per_million=cost,
        unpriced=tuple(name for name in types if name not in prices),
        against=_against(record),
    )


def _types(record: TestRecord) -> list[str]:
    """What is paid for by the hour: the instance, and the accelerator that is attached to it."""
    identity = record.hardware.identity
    types = [identity.get("instance_type"), identity.get("accelerator_type")]
    return [str(each) for each in types if each] if types[0] else []


def _against(record: TestRecord) -> str:
    """What keeps the variant from being advised: the first thing that has to hold and was not seen to."""
    if record.measurement is None:
        return record.kind
    for verdict in record.verdicts:
        if verdict.question in _HAS_TO_HOLD and verdict.kind in _AGAINST:
            return f"{verdict.kind}: {verdict.summary}"
    return ""
