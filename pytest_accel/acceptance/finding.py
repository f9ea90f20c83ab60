"""How a check ends: with a finding, or with an exception that says why it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.facts.acceptance import Outcome


@dataclass(frozen=True)
class Finding:
    """What a check has found: a sentence, and numbers with units in their names."""

    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    outcome: Outcome = "held"


class NotApplicable(Exception):
    """The check cannot be made on this accelerator or machine; the message is the reason."""


class Broken(Exception):
    """What the check asks for does not hold; the message says what was found instead."""
