"""These are the prices of an hour of an instance, for a first look. Each has its source and its date.

The prices are US dollars an hour, on demand, for Linux in US regions. An account may pay other prices, for example in
another region, with reservations or for SageMaker's ``ml.`` types. So users can replace every price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_accel.facts.errors import UsageError


@dataclass(frozen=True)
class Price:
    """A price is in US dollars an hour. ``source`` says where it comes from and of which date it is."""

    usd_per_hour: float
    source: str

    def __add__(self, other: Price) -> Price:
        """Add the prices of two things that are used together."""
        return Price(self.usd_per_hour + other.usd_per_hour, f"{self.source}; {other.source}")


_LIBCLOUD = "Apache Libcloud's price list, 2023-08-06"
_NEURONPERF = "neuronperf of the AWS Neuron SDK, 2026-08-21"
_PUBLIC = "public price tables, 2026-11"
_BLOG = "AWS blog on Elastic Inference, 2019"
_ENDED = "unverified; the service has ended"

#: PRICES are by EC2 instance type, and by the type of an attached Elastic Inference accelerator, whose price is added.
PRICES: Mapping[str, Price] = {
    "c5.xlarge": Price(0.17, _LIBCLOUD),
    "c5.2xlarge": Price(0.34, _LIBCLOUD),
    "g4dn.xlarge": Price(0.526, _LIBCLOUD),
    "g4dn.2xlarge": Price(0.752, _LIBCLOUD),
    "g5.xlarge": Price(1.006, _PUBLIC),
    "g6.xlarge": Price(0.8048, _PUBLIC),
    "p3.2xlarge": Price(3.06, _BLOG),
    "inf1.xlarge": Price(0.228, _NEURONPERF),
    "inf1.2xlarge": Price(0.362, _NEURONPERF),
    "inf1.6xlarge": Price(1.18, _NEURONPERF),
    "inf1.24xlarge": Price(4.721, _NEURONPERF),
    "inf2.xlarge": Price(0.7582, _PUBLIC),
    "inf2.8xlarge": Price(1.96786, _PUBLIC),
    "inf2.24xlarge": Price(6.49063, _PUBLIC),
    "inf2.48xlarge": Price(12.98127, _PUBLIC),
    "trn1.2xlarge": Price(1.34375, _PUBLIC),
    "trn1.32xlarge": Price(21.50, _PUBLIC),
    "eia1.medium": Price(0.13, _BLOG),
    "eia1.large": Price(0.26, _BLOG),
    "eia1.xlarge": Price(0.52, _BLOG),
    "eia2.medium": Price(0.12, _ENDED),
    "eia2.large": Price(0.24, _ENDED),
    "eia2.xlarge": Price(0.34, _ENDED),
}


def with_own(given: Mapping[str, float]) -> dict[str, Price]:
    """Replace prices by the user's own. Raises `UsageError` for one that is not more than 0."""
    for name, usd_per_hour in given.items():
        if not usd_per_hour > 0:
            raise UsageError(f"the price of {name} is {usd_per_hour:g}: dollars an hour are more than 0")
    return {**PRICES, **{name: Price(usd_per_hour, "as given") for name, usd_per_hour in given.items()}}


def usd_per_million(usd_per_hour: float, throughput: float) -> float:
    """Price a million items at ``throughput`` items a second, on an instance that is never idle."""
    return usd_per_hour * 1e6 / 3600 / throughput
