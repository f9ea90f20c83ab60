"""Our latency and throughput beside those of the vendor's own tool, on the same artefact with the same settings.

The tools are ONNX Runtime in a plain loop, and OpenVINO's ``benchmark_app`` as it comes. How they take turns is told in
`pytest_accel.acceptance.beside_vendor`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.beside_vendor import Beside, write_inputs
from pytest_accel.acceptance.rounds import Costs, Limit, Rounds
from pytest_accel.facts.records import Variant
from pytest_accel.worker.accelerator import Accelerator, Source
from pytest_accel.worker.accelerators.onnx_runtime.cpu_ort import CpuOrt
from pytest_accel.worker.accelerators.openvino import CpuOpenVino
from tests.benchmarks.launches import defaults, launched
from tests.benchmarks.rounds import until_decided

if TYPE_CHECKING:
    from pytest_accel.facts.fact import Scalar
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


@dataclass(frozen=True)
class Contest:
    """What is compared: latency, where calls are made one by one, or throughput."""

    accelerator: type[Accelerator]
    options: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def figure(self) -> str:
        return "latency" if self.variant.load_shape == "single_stream" else "throughput"

    @property
    def variant(self) -> Variant:
        return Variant(accelerator=self.accelerator.name, options={**defaults(self.accelerator), **self.options})


CONTESTS = {
    "ort": Contest(CpuOrt),
    "ort offline": Contest(CpuOrt, {"load_shape": "offline"}),
    "openvino": Contest(CpuOpenVino),
    "openvino two streams": Contest(
        CpuOpenVino, {"load_shape": "multi_stream", "concurrency": 2, "streams": 2, "hint": "throughput"}
    ),
}


@pytest.mark.parametrize("name", CONTESTS)
def test_ours_is_what_the_vendors_tool_says(
    name: str, zoo: Zoo, tmp_path: Path, tell: Callable[[str], None], in_ci: bool
) -> None:
    contest = CONTESTS[name]
    if not any(distributions(name="onnxruntime" if contest.accelerator is CpuOrt else "openvino")):
        pytest.skip(f"needs pip install 'pytest-accel[{contest.accelerator.extra}]'")
    with launched(contest.accelerator, tmp_path) as ours:
        source = Source("saved_model", str(zoo.saved_model("resnet50")))
        ours.compile(source, tmp_path / "artefact", contest.variant.options)
        (spec,) = ours.load(tmp_path / "artefact", contest.variant.options).signature.inputs
    write_inputs({spec.name: zoo.validation("resnet50")[0][:1]}, tmp_path / "inputs")
    found = until_decided(
        Rounds(lambda: _play(contest, tmp_path)),
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


def _play(contest: Contest, folder: Path) -> Costs:
    """Milliseconds a call of either side: the median of all calls for latency, their mean for throughput."""
    turn_s, turns = TURN_S[contest.figure], TURNS[contest.figure]
    beside = Beside(contest.accelerator, contest.variant, folder / "artefact", folder / "inputs", turn_s, turns)
    with launched(contest.accelerator, folder) as ours:
        played = beside.play(ours)
    if contest.figure == "latency":
        return played.medians()
    running_ms = played.said(r"Duration: +([\d.]+)") - 1e3 * played.stopped_s
    return {
        "ours": played.wall_ns / 1e6 / len(played.latencies_ns),
        "theirs": running_ms / played.said(r"Count: +([\d.]+)"),
    }
