"""Our latency and throughput beside those of the vendor's own tool, on the same artefact with the same settings.

A round is a launch: a fresh process on either side, and turns for each in alternation. The tools are
ONNX Runtime in a plain loop, and OpenVINO's ``benchmark_app`` as it comes; see `turns` for how these take turns.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.measuring.latency import warm_up
from pytest_accel.worker.accelerator import Accelerator, Source
from pytest_accel.worker.accelerators.onnx_runtime.cpu_ort import CpuOrt
from pytest_accel.worker.accelerators.openvino import CpuOpenVino
from tests.benchmarks.launches import defaults, launched
from tests.benchmarks.rounds import Costs, Limit, Rounds, until_decided
from tests.benchmarks.turns import InTurns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_accel.facts.fact import Scalar
    from pytest_accel.processes.client import LoadShape
    from tests.models.zoo import Zoo

pytestmark = pytest.mark.benchmark_suite

LIMITS = {
    "latency": Limit.ratio(1.02, either_way=True),
    "throughput": Limit.ratio(1.03, either_way=True),
}
LOOKS = (6, 12)
#: What a tool loses when it is continued its medians do not see, but its throughput does: long turns make that little.
TURN_S = {"latency": 0.5, "throughput": 2.0}
TURNS = {"latency": 12, "throughput": 3}
PLAIN_LOOP = Path(__file__).with_name("plain_onnx_loop.py")
#: Inputs as the model has them: of what looks like an image it would make an 8-bit one.
BENCHMARK_APP = ("-infer_precision", "f32", "-ip", "f32")


@dataclass(frozen=True)
class Contest:
    """What is compared: latency, where calls are made one by one, or throughput, and with what the tool is called."""

    accelerator: type[Accelerator]
    load_shape: LoadShape = "single_stream"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def figure(self) -> str:
        return "latency" if self.load_shape == "single_stream" else "throughput"

    @property
    def traffic(self) -> dict[str, float]:
        return {"concurrency": 2} if self.load_shape == "multi_stream" else {}

    def complete(self) -> dict[str, Scalar]:
        return {**defaults(self.accelerator), "load_shape": self.load_shape, **self.options}

    def tool(self, artefact: Path, inputs: Path, calls: int) -> InTurns:
        """The vendor's tool, about to make so many calls."""
        if self.accelerator is CpuOrt:
            command = [sys.executable, str(PLAIN_LOOP), str(artefact / "model.onnx"), str(inputs), str(calls)]
            return InTurns(command, begins="begin")
        program = shutil.which("benchmark_app", path=str(Path(sys.executable).parent))
        assert program is not None, "it comes with OpenVINO"
        command = [program, "-m", str(artefact / "model.xml"), "-i", str(inputs), "-niter", str(calls)]
        return InTurns([*command, *BENCHMARK_APP, *self.flags], begins="First inference took")


CONTESTS = {
    "ort": Contest(CpuOrt),
    "ort offline": Contest(CpuOrt, "offline"),
    "openvino": Contest(CpuOpenVino, flags=("-hint", "latency", "-api", "sync")),
    "openvino two streams": Contest(
        CpuOpenVino,
        "multi_stream",
        {"concurrency": 2, "streams": 2, "hint": "throughput"},
        ("-hint", "none", "-api", "async", "-nstreams", "2", "-nireq", "2"),
    ),
}


@pytest.mark.parametrize("name", CONTESTS)
def test_ours_is_what_the_vendors_tool_says(
    name: str, zoo: Zoo, tmp_path: Path, tell: Callable[[str], None], in_ci: bool
) -> None:
    contest = CONTESTS[name]
    if not any(distributions(name="onnxruntime" if contest.accelerator is CpuOrt else "openvino")):
        pytest.skip(f"needs pip install 'pytest-accel[{contest.accelerator.extra}]'")
    inputs = zoo.validation("resnet50")[0][:1]
    np.save(tmp_path / "inputs.npy", inputs)
    with launched(contest.accelerator, tmp_path) as ours:
        ours.compile(Source("saved_model", str(zoo.saved_model("resnet50"))), tmp_path / "artefact", contest.complete())
    found = until_decided(
        Rounds(lambda: _play(contest, tmp_path, inputs)),
        lambda costs: costs["ours"] / costs["theirs"],
        limit=LIMITS[contest.figure],
        looks=LOOKS,
        in_ci=in_ci,
    )
    tell(
        f"{contest.figure}, {name}: {found.typical('ours'):.3f} ms a call, {found.estimate:.4f} "
        f"[{found.lower:.4f}, {found.upper:.4f}] times the vendor's tool's {found.typical('theirs'):.3f} ms; "
        f"{found.judged}"
    )
    assert not found.beyond


def _play(contest: Contest, folder: Path, inputs: NDArray[np.float32]) -> Costs:
    """Milliseconds a call of either side: the median of all calls for latency, their mean for throughput."""
    latencies_ns, wall_ns = [], 0
    with launched(contest.accelerator, folder) as ours:
        (spec,) = ours.load(folder / "artefact", contest.complete()).signature.inputs
        ours.stage([{spec.name: inputs}])
        warm_up(ours)
        turn_s, turns = TURN_S[contest.figure], TURNS[contest.figure]
        calls = round(turn_s * 1e9 / median(ours.time_block(calls=10).latencies_ns))
        with contest.tool(folder / "artefact", folder / "inputs.npy", turns * calls) as theirs:
            while theirs.take(turn_s):
                timed = ours.measure(contest.load_shape, calls=calls, checks=0, **contest.traffic)
                latencies_ns += timed.latencies_ns
                wall_ns += timed.wall_ns
    told = theirs.output()
    if contest.figure == "latency":
        return {"ours": median(latencies_ns) / 1e6, "theirs": _told(told, "Median")}
    running_ms = _told(told, "Duration") - 1e3 * theirs.stopped_s
    return {"ours": wall_ns / 1e6 / len(latencies_ns), "theirs": running_ms / _told(told, "Count")}


def _told(output: str, what: str) -> float:
    found = re.search(rf"{what}: +([\d.]+)", output)
    assert found is not None, output
    return float(found.group(1))
