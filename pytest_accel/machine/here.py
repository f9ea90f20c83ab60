"""How a machine is asked for facts about itself; the same operations have answers here and on another host."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from pytest_accel.worker.host.conditions import Conditions
from pytest_accel.worker.host.identity import Identity
from pytest_accel.worker.host.operations import Operations

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain

#: Ask takes the name of an operation and its parameters, and returns the answer of one machine.
Ask: TypeAlias = "Callable[..., Plain]"

#: HERE asks this machine.
HERE: Ask = Operations(Conditions(), Identity()).ask
