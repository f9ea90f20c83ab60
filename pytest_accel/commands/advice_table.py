"""Put into a sentence and a table which accelerator to take, for ``pytest-accel advise``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_accel.commands.console import number

if TYPE_CHECKING:
    from pytest_accel.commands.offers import Offer

#: HEADS are the headings of the table.
HEADS = ("variant", "runs on", "$/million", "items/s", "$/h", "price of", "against it")


def advice(offers: Iterable[Offer]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Give the advice for each model and the rows of its table. ``offers`` are in the order of `offers.offers`."""
    for model, group in itertools.groupby(offers, key=lambda offer: offer.model):
        variants = list(group)
        yield f"{model}: {_sentence(variants)}", list(map(_row, variants))


def _sentence(offers: Sequence[Offer]) -> str:
    best = offers[0]
    if best.price is None or not best.advisable:
        return "nothing passes whose cost is known"
    return (
        f"{best.variant} on {best.runs_on} is the cheapest that passes: {best.usd_per_million:.4g} $ a million items, "
        f"at {best.price.usd_per_hour:g} $ an hour ({best.price.source})"
    )


def _row(offer: Offer) -> tuple[str, ...]:
    price = offer.price
    return (
        offer.variant,
        offer.runs_on,
        number(offer.usd_per_million),
        number(offer.throughput),
        number(price.usd_per_hour if price else None),
        price.source if price else f"unknown: {_how_to_price(offer)}",
        offer.against,
    )


def _how_to_price(offer: Offer) -> str:
    if offer.unpriced:
        return f"--price {offer.unpriced[0]}=USD"
    return f"{offer.host} tells no instance type" if offer.host else "measure with accel_instance_type set"
