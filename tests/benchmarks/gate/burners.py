"""Two processes that take a core each for a while and then rest, as neighbours on a shared machine do."""

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


def burn(seed: int) -> None:
    """Take turns of work and rest of random lengths, until the process is ended or its parent was."""
    rng, parent = random.Random(seed), os.getppid()
    while os.getppid() == parent:
        until = time.monotonic() + rng.uniform(0.2, LONGEST_S)
        while time.monotonic() < until:
            sum(range(10_000))
        time.sleep(rng.uniform(0.2, LONGEST_S))


@contextmanager
def busy() -> Iterator[None]:
    """Keep the machine busy on and off during the block."""
    spawn = multiprocessing.get_context("spawn")
    burners = [spawn.Process(target=burn, args=(random.randrange(2**32),), daemon=True) for _ in range(BURNERS)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()
