"""The fingerprint of hardware: a short name for one kind of machine, and the key of its baselines.

It names hardware and nothing else, because software is what is under test.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_accel.facts.fact import Scalar

#: _NOT_THE_KIND are facts that tell one piece of the same hardware from the next, or that are software; no fingerprint
#: depends on them.
_NOT_THE_KIND = re.compile(r"version|driver|uuid|serial|bus_id|index|runtime|firmware")
#: _EMPTY_WORDS are words of a device's name that say nothing.
_EMPTY_WORDS = re.compile(r"\((r|tm)\)|\b(cpu|processor|\d+-core)\b|@.*", re.IGNORECASE)


def fingerprint_of(identity: Mapping[str, Scalar]) -> str:
    """Return the fingerprint, such as ``intel-xeon-2c-24g-3fa9c1``: words for people, and a digest of the kind."""
    kind = {name: value for name, value in identity.items() if not _NOT_THE_KIND.search(name)}
    words = [str(identity.get("instance_type", "")), _EMPTY_WORDS.sub(" ", str(identity["device"]))]
    words += [f"{identity['cores']}c", f"{identity['memory_gb']}g", digest_of(kind)]
    return "-".join(slug for slug in map(slug_of, words) if slug)


def digest_of(facts: object) -> str:
    """Return six digits that differ where plain data differ."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:6]


def slug_of(text: str) -> str:
    """Return at most 40 characters of the text that may stand in the name of a folder anywhere."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:40]
