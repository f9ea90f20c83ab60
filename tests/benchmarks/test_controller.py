"""What the controller itself costs for each test, without measuring: beside as many tests that do nothing.

The fake accelerator runs in the process of the tests, in virtual time. Measuring, duets and what else workers do are
counted apart and taken off; looking up artefacts and baselines, evaluating, judging and reporting remain.

A millisecond of CPU time is not the same work at all times: while a neighbour on the same machine uses the other half
of the core, the same loop takes up to 1.8 times as long. So each test is followed by a short loop of which the work is
known, and costs are given at the speed of the fastest of these loops.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from pytest_accel.baseline import Baselines, read
from pytest_accel.report.record import read_record
from pytest_accel.testing import fake_model
from tests.benchmarks import child
from tests.benchmarks.rounds import Costs, in_turn, judge

pytestmark = pytest.mark.benchmark_suite

TESTS = 1000
QUARTER, HALF = TESTS // 4, TESTS // 2
LIMIT_MS = 5.0
#: How much faster than the number of tests the cost may grow: 1 is linear, 2 is quadratic.
MOST_GROWTH = 1.3
ROUNDS = 6

CONFTEST = """
import functools, gc, json, time
from pathlib import Path

from pytest_accel.testing import FAKE

measuring_s = 0.0
depth = 0
loops_s = []


def pytest_accel_accelerators():
    return {"fake": FAKE}


def set_apart(owner, name):
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def timed(*args, **params):
        global measuring_s, depth
        depth += 1
        began_s = time.process_time()
        try:
            return inner(*args, **params)
        finally:
            depth -= 1
            if depth == 0:
                measuring_s += time.process_time() - began_s

    setattr(owner, name, timed)


def pytest_configure():
    from pytest_accel import compare, measure, workers

    set_apart(workers.InProcessWorker, "request")
    set_apart(measure.Steady, "measure")
    set_apart(compare, "play")


def pytest_collection_finish():
    gc.freeze()  # a worker's heap is small: its garbage collection before a measurement does not look at our tests


def pytest_runtest_logfinish():
    began_s = time.process_time()
    for _ in range(10_000):
        pass
    loops_s.append(time.process_time() - began_s)


def pytest_unconfigure():
    Path("apart.json").write_text(json.dumps({"measuring_s": measuring_s, "loops_s": loops_s}))
"""

TESTS_OF_MODELS = """
import os, pytest

@pytest.mark.parametrize("model", [f"m{i}" for i in range(int(os.environ["TESTS"]))])
@pytest.mark.accelerator("fake", p50_ms=2000)
def test_model(accel_model, model):
    accel_model(f"models/{model}.fake.json").check()
"""

PLAIN_TESTS = """
import os, pytest

@pytest.mark.parametrize("model", [f"m{i}" for i in range(int(os.environ["TESTS"]))])
def test_nothing(model):
    pass
"""


class Apart(msgspec.Struct):
    """CPU seconds of a run that are not the controller's: of all measuring, and of the loop after each test."""

    measuring_s: float
    loops_s: list[float]


@dataclass
class Project:
    """A thousand fake models, each with a baseline and in the compile cache."""

    folder: Path
    #: The fastest loop of all runs so far, which had its core for itself.
    full_speed_s: float = inf

    def run(self, file: str, tests: int, *args: str) -> float:
        """CPU seconds of one pytest run outside its measuring, at the core's full speed."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--accel-cache-dir=cache"]
        environ = {"TESTS": str(tests), **child.byte_code_in(self.folder)}
        ended = child.run([*command, file, *args], cwd=self.folder, environ=environ)
        assert f"{tests} passed" in ended.output, ended.output[-2000:]
        apart = msgspec.json.decode((self.folder / "apart.json").read_bytes(), type=Apart)
        self.full_speed_s = min(self.full_speed_s, *apart.loops_s)
        slowdown = fmean(apart.loops_s) / self.full_speed_s
        return (ended.cpu_s - apart.measuring_s - sum(apart.loops_s)) / slowdown

    def with_models(self, tests: int) -> Callable[[], float]:
        return lambda: self.run("test_models.py", tests, "--accel-in-process", "-p", "no:benchmark")

    def plain(self) -> float:
        return self.run("test_plain.py", TESTS, "-p", "no:benchmark")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("controller")
    for name, text in [("conftest", CONFTEST), ("test_models", TESTS_OF_MODELS), ("test_plain", PLAIN_TESTS)]:
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "models").mkdir()
    for number in range(TESTS):
        # A second a call is the slowest that is sensible: the fewest calls fit a duet's blocks.
        fake_model(folder / "models" / f"m{number}.fake.json", latency_ms=1000, weights_seed=number)
    made = Project(folder)
    made.run("test_models.py", 1, "--accel-save-baseline")
    (saved,) = (folder / "baselines").rglob("*.json")
    made.run("test_models.py", TESTS, "--accel-in-process", "--accel-report=run.json")
    for record in read_record(folder / "run.json").tests:
        baseline = msgspec.structs.replace(read(saved), model=record.model, artefact=record.artefact)
        Baselines(folder / "baselines").save(baseline)
    return made


@pytest.fixture(scope="module")
def rounds(project: Project) -> list[Costs]:
    """Costs of runs with a quarter, half and all of the tests, and of as many plain ones; both tests judge these."""
    runs = {name: project.with_models(tests) for name, tests in [("quarter", QUARTER), ("half", HALF), ("all", TESTS)]}
    play_round = in_turn({**runs, "plain": project.plain})
    return [play_round() for _ in range(ROUNDS)]


def test_the_controller_spends_little_on_a_test(rounds: list[Costs], tell: Callable[[str], None]) -> None:
    def per_test_ms(costs: Costs) -> float:
        return 1e3 * (costs["all"] - costs["plain"]) / TESTS

    found = judge(rounds, per_test_ms, highest=LIMIT_MS)
    tell(
        f"controller: {found.estimate:.2f} ms [{found.lower:.2f}, {found.upper:.2f}] for each of {TESTS} tests with "
        f"baselines, beside {1e3 * found.typical('plain') / TESTS:.2f} ms for an empty test; "
        f"{len(found.rounds)} rounds, {found.judged}"
    )
    assert not found.beyond


def test_its_cost_grows_with_the_number_of_tests_and_no_faster(
    rounds: list[Costs], tell: Callable[[str], None]
) -> None:
    def growth(costs: Costs) -> float:
        """The cost of a test in the second half of a run beside that of one in its second quarter."""
        return (costs["all"] - costs["half"]) / (TESTS - HALF) / ((costs["half"] - costs["quarter"]) / (HALF - QUARTER))

    found = judge(rounds, growth, highest=MOST_GROWTH)
    tell(
        f"controller: a test among {HALF}-{TESTS} costs {found.estimate:.2f} [{found.lower:.2f}, {found.upper:.2f}] "
        f"times one among {QUARTER}-{HALF}; {len(found.rounds)} rounds, {found.judged}"
    )
    assert not found.beyond
