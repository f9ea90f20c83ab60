"""Which NeuronCores a process takes: what its environment allows, and what of it a variant asks for.

The runtime reads two variables when it first runs something, takes the cores that they name and keeps them until the
process ends. Whoever starts a container may have set them before. Then they are the pool to take from:
``NEURON_RT_VISIBLE_CORES`` lists cores, and ``NEURON_RT_NUM_CORES`` says how many. The first one counts where both are
set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Mapping, MutableMapping, Optional, Tuple

from pytest_accel.worker.accelerator import Refused

_VISIBLE_CORES, _NUM_CORES = "NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"
_RANGE = re.compile(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*")


@dataclass(frozen=True)
class Pool:
    """The cores that a process may take: those ``listed``, else ``count`` of any. Neither is there where all are free.

    ``named`` is how the environment says it, for messages.
    """

    listed: Optional[Tuple[int, ...]] = None
    count: Optional[int] = None
    named: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Pool:
        """Read the variables. Raises `Refused` where one of them cannot be understood."""
        visible, number = environment.get(_VISIBLE_CORES, "").strip(), environment.get(_NUM_CORES, "").strip()
        if visible:
            named = f"{_VISIBLE_CORES}={visible}"
            return cls(listed=_cores_in(visible, named), named=named)
        if number.strip("0"):
            named = f"{_NUM_CORES}={number}"
            if not number.isdigit():
                raise Refused(f"{named} is no number of NeuronCores: set it to one, or unset it")
            return cls(count=int(number), named=named)
        return cls()

    def size(self, on_machine: int) -> int:
        """Return how many cores there are to take, on a machine with so many."""
        allowed = len(self.listed) if self.listed is not None else self.count
        return on_machine if allowed is None else min(allowed, on_machine)

    def claim(self, count: int, group: Optional[int]) -> Dict[str, str]:
        """Return the variables that name ``count`` cores: the ``group``-th so many, else free ones.

        Raises `Refused` where the pool has no such cores.
        """
        if group is None and self.listed is None:
            if self.count is not None and count > self.count:
                raise Refused(self._too_few(f"{count} NeuronCores"))
            return {_NUM_CORES: str(count)}
        first = (group or 0) * count
        if self.listed is None:
            if self.count is not None and first + count > self.count:
                raise Refused(self._too_few(f"core_group={group} of {count} NeuronCores"))
            return {_VISIBLE_CORES: _spelled(first, count)}
        taken = self.listed[first : first + count]
        if len(taken) < count:
            raise Refused(self._too_few(f"{count} NeuronCores" if group is None else f"core_group={group} of {count}"))
        if taken[-1] - taken[0] != count - 1:
            raise Refused(f"{self.named} has gaps, and the {count} cores {taken} of it are no range: name a range")
        return {_VISIBLE_CORES: _spelled(taken[0], count)}

    def _too_few(self, what: str) -> str:
        return f"{what} cannot be had: {self.named} allows fewer; ask for fewer, or allow more"


class Claim:
    """The cores of the process that has this environment, once a variant has named them."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self._environment = environment
        self._pool: Optional[Pool] = None
        self._variables: Dict[str, str] = {}

    def take(self, count: int, group: Optional[int]) -> None:
        """Name the cores for the runtime. Raises `Refused` where this process has others."""
        if self._pool is None:
            self._pool = Pool.of(self._environment)
        wanted = self._pool.claim(count, group)
        if not self._variables:
            self._environment.update(wanted)
            self._variables = wanted
        if wanted != self._variables:
            wish, held = _listed(wanted), _listed(self._variables)
            raise Refused(f"{wish} cannot be had, because this worker has {held}: load it in a fresh one")


def cores_needed(count: int, group: Optional[int]) -> int:
    """Return how many cores there have to be: ``count``, or as many as the ``group``-th ``count`` of them end with."""
    return count if group is None else (group + 1) * count


def _cores_in(text: str, named: str) -> Tuple[int, ...]:
    """Return the cores of a list such as ``0-2,5``."""
    cores: List[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part)
        if found is None:
            raise Refused(f"{named} is no list of NeuronCores: write it like 0-3 or 0,1")
        cores += range(int(found.group(1)), int(found.group(2) or found.group(1)) + 1)
    return tuple(cores)


def _spelled(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _listed(variables: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in variables.items())
