"""Our median latency of a model beside that of a plain hand-written TensorFlow loop.

The model is ResNet-50. In CI it is a small one with a batch so large that a call takes milliseconds too: it loads and
gets steady in a moment.

A round is a launch: a fresh process on either side, warmed up, and then timed in blocks that take turns. See `duet`.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.acceptance.rounds import Costs, Limit, Rounds
from pytest_accel.measuring.latency import warm_up
from pytest_accel.regression.duet import block_calls, planned_pairs
from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.accelerators.tensorflow.cpu import Cpu
from tests.benchmarks.launches import defaults, launched
from tests.benchmarks.rounds import in_turn, until_decided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.models.zoo import Zoo

pytestmark = pytest.mark.benchmark_suite

LIMIT = Limit.ratio(1.02, either_way=True)
LOOKS = (6, 12)
WARM_UP_CALLS = 30
#: The model and the items of a call.
MODEL, MODEL_IN_CI = ("resnet50", 1), ("digits_cnn", 450)
OPTIONS = defaults(Cpu)
#: The median latency in nanoseconds of that many calls, made after an untimed one.
Block = Callable[[int], float]


def test_our_median_is_that_of_a_plain_loop(zoo: Zoo, tmp_path: Path, tell: Callable[[str], None], in_ci: bool) -> None:
    recipe, batch_size = MODEL_IN_CI if in_ci else MODEL
    model, inputs = zoo.saved_model(recipe), zoo.validation(recipe)[0][:batch_size]
    np.save(tmp_path / "inputs.npy", inputs)
    with launched(Cpu, tmp_path) as launch:
        launch.compile(Source("saved_model", str(model)), tmp_path / "artefact", OPTIONS)
    sides = {
        "ours": lambda: _ours(tmp_path / "artefact", inputs, tmp_path),
        "plain": lambda: _plain(model, tmp_path / "inputs.npy"),
    }
    found = until_decided(
        Rounds(lambda: _launch(sides)), lambda costs: costs["ratio"], limit=LIMIT, looks=LOOKS, in_ci=in_ci
    )
    tell(
        f"latency of {recipe}: {found.estimate:.4f} [{found.lower:.4f}, {found.upper:.4f}] times a plain loop's "
        f"{found.typical('plain'):.3f} ms; {found.judged}"
    )
    assert not found.beyond


def _launch(sides: Mapping[str, Callable[[], AbstractContextManager[Block]]]) -> Costs:
    """Milliseconds a call of either side, and the median ratio of blocks that followed each other."""
    with ExitStack() as stack:
        order = random.Random().sample(list(sides), len(sides))
        blocks = {name: stack.enter_context(sides[name]()) for name in order}
        typical_ns = min(time_block(5) for time_block in blocks.values())
        (calls,) = block_calls([typical_ns])
        pairs = planned_pairs(2 * typical_ns * (calls + 1))
        play_pair = in_turn({name: partial(time_block, calls) for name, time_block in blocks.items()})
        played = [play_pair() for _ in range(pairs)]
    return {
        **{name: median(pair[name] for pair in played) / 1e6 for name in sides},
        "ratio": median(pair["ours"] / pair["plain"] for pair in played),
    }


@contextmanager
def _ours(artefact: Path, inputs: NDArray[np.float32], logs: Path) -> Iterator[Block]:
    with launched(Cpu, logs) as launch:
        (spec,) = launch.load(artefact, OPTIONS).signature.inputs
        launch.stage([{spec.name: inputs}])
        warm_up(launch)

        def time_block(calls: int) -> float:
            return median(launch.time_block(calls=calls, settle=1).latencies_ns)

        yield time_block


@contextmanager
def _plain(model: Path, inputs: Path) -> Iterator[Block]:
    command = [sys.executable, str(Path(__file__).with_name("plain_loop.py")), str(model), str(inputs)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True) as loop:
        assert loop.stdin is not None
        assert loop.stdout is not None
        told, asked = loop.stdout, loop.stdin

        def time_block(calls: int) -> float:
            asked.write(f"{calls}\n")
            asked.flush()
            return float(told.readline())

        time_block(WARM_UP_CALLS)
        yield time_block
