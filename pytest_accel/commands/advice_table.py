"""Which accelerator to take, in words and as a table: what ``pytest-accel advise`` prints."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_accel.commands.offers import Offer

HEADS = ("variant", "runs on", "$/million", "items/s", "$/h", "price of", "against it")


def told(offers: Iterable[Offer]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """For each model the advice and the rows of a table with `HEADS`; ``offers`` come as `offers.offers` sorts them."""
    for model, group in itertools.groupby(offers, key=lambda offer: offer.model):
        its = list(group)
        yield f"{model}: {_advice(its)}", list(map(_row, its))


def _advice(offers: Sequence[Offer]) -> str:
    best = offers[0]
    if best.price is None or not best.advisable:
        return "nothing passes whose cost is known"
    return (
        f"{best.variant} on {best.runs_on} is the cheapest that passes: {best.usd_per_million:.4g} $ a million items, "
        f"at {best.price.usd_per_hour:g} $ an hour ({best.price.source})"
    )


def _row(offer: Offer) -> tuple[str, ...]:
    price = offer.price
    numbers = (offer.usd_per_million, offer.throughput, price.usd_per_hour if price else None)
    return (
        *(offer.variant, offer.runs_on),
        *("-" if number is None else f"{number:.4g}" for number in numbers),
        price.source if price else f"unknown: {_how_to_price(offer)}",
        offer.against,
    )


def _how_to_price(offer: Offer) -> str:
    return f"--price {offer.unpriced[0]}=USD" if offer.unpriced else "measure with accel_instance_type set"
