"""What is recorded and measured live: real models of the suite, from under a millisecond to over forty.

`sides` makes a duet's two sides from them, as a check does from a test's marker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pytest_accel.facts.progress import Silence
from pytest_accel.facts.settings import Settings
from pytest_accel.inputs.models import resolve
from pytest_accel.inputs.registry import Registry
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.inputs.variants import expand_marker
from pytest_accel.regression.duet import Side
from pytest_accel.regression.pacemaker import yardstick
from pytest_accel.report.progress import ProgressLine
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.session import Session
from tests.models.zoo import ROOT, Zoo


@dataclass(frozen=True)
class Workload:
    """A model of the suite on an accelerator, with options as a marker spells them."""

    accelerator: str
    recipe: str
    options: dict[str, Any] = field(default_factory=dict)


WORKLOADS = {
    "digits_cnn-b32-cpu-ort": Workload("cpu-ort", "digits_cnn", {"batch_size": 32}),
    "digits_cnn-b256-cpu-openvino": Workload("cpu-openvino", "digits_cnn", {"batch_size": 256}),
    "resnet50-bf16-cpu-openvino": Workload("cpu-openvino", "resnet50", {"precision": "bf16"}),
    "resnet50-fp32-cpu": Workload("cpu", "resnet50"),
}

#: Both sides of a duet by the name of what is recorded: the extra work of the candidate, and the pacemaker.
DUETS = {
    "same": (0.0, "own artefact"),
    "slower-5": (0.05, "own artefact"),
    "slower-10": (0.10, "own artefact"),
    "yardstick": (0.0, "yardstick"),
}


@contextmanager
def session() -> Iterator[Session]:
    """A session of our own, with the user's compile cache."""
    made = Session(Settings(rootdir=ROOT, baseline_dir=ROOT / "baselines"), Registry.discover(), tell=Silence())
    try:
        yield made
    finally:
        made.close()


def sides(session: Session, workload: Workload, duet: str) -> tuple[Side, Side]:
    """Candidate and pacemaker; compiles what the cache does not have."""
    zoo = Zoo.at_home(ProgressLine(sys.stderr.write, rewrites=False))
    (plan,) = expand_marker((workload.accelerator,), workload.options, session.registry)
    model = resolve(zoo.saved_model(workload.recipe), cache=session.cache, base=Path())
    candidate = compile_candidate(session, model, plan.variant)
    batch_size = int(workload.options.get("batch_size", 1))
    inputs = partial(synthetic, batch_size=batch_size)
    own = Side(session, workload.accelerator, candidate.folder, plan.variant.options, inputs)
    extra_work, pacemaker = DUETS[duet]
    return replace(own, extra_work=extra_work), own if pacemaker == "own artefact" else yardstick(session, plan.variant)
