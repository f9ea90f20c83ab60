"""Processes that take a core each, as neighbours on a shared machine do: for a while and then they rest, or always."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

BURNERS = 2
#: The longest that a burner works or rests before it changes its mind, in seconds.
LONGEST_S = 8.0


def burn(seed: int, rests: bool) -> None:
    """Work for random lengths of time, and rest in between, until the process is ended or its parent was."""
    rng, parent = random.Random(seed), os.getppid()
    while os.getppid() == parent:
        until = time.monotonic() + rng.uniform(0.2, LONGEST_S)
        while time.monotonic() < until:
            sum(range(10_000))
        if rests:
            time.sleep(rng.uniform(0.2, LONGEST_S))


@contextmanager
def busy(processes: int = BURNERS, *, rests: bool = True) -> Iterator[None]:
    """Keep the machine busy during the block: on and off, or all the time."""
    spawn = multiprocessing.get_context("spawn")
    seeds = [random.randrange(2**32) for _ in range(processes)]
    burners = [spawn.Process(target=burn, args=(seed, rests), daemon=True) for seed in seeds]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()
