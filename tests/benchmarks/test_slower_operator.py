"""How often the operator that is slower is named first: a network with one convolution of 5 x 5 in place of 3 x 3.

Each trial is what a regression is followed by: both sides in one launch, with the runtime's own profiler.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import distributions
from typing import TYPE_CHECKING

import pytest

from pytest_accel.facts.progress import Silence
from pytest_accel.facts.settings import Settings
from pytest_accel.inputs.models import resolve
from pytest_accel.inputs.registry import Registry
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.inputs.variants import expand_marker
from pytest_accel.regression.duet import Side
from pytest_accel.regression.operators import MOST_CALLS, compare_operators
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.session import Session
from tests.models.slower_network import CHANNELS, write_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRIALS = 20
#: So many of them have to name it, where one in eight would be chance. In CI each convolution has one trial.
FEWEST, FEWEST_IN_CI = 19, 7
SDKS = {"cpu-ort": "onnxruntime", "cpu-openvino": "openvino"}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session with nothing in its cache."""
    settings = Settings(
        rootdir=tmp_path, baseline_dir=tmp_path, cache_dir=tmp_path / "cache", lock_dir=tmp_path / "locks"
    )
    made = Session(settings, Registry.discover(), tell=Silence())
    yield made
    made.close()


def side_with(session: Session, accelerator: str, folder: Path, wider: int | None) -> Side:
    """The network with this convolution wider, compiled with the defaults."""
    (plan,) = expand_marker((accelerator,), {}, session.registry)
    path = write_network(folder / f"wider-{wider}.onnx", wider=wider)
    model = resolve(path, cache=session.cache, base=folder)
    made = compile_candidate(session, model, plan.variant)
    return Side(session, accelerator, made.folder, plan.variant.options, partial(synthetic, batch_size=1))


@pytest.mark.statistical
@pytest.mark.parametrize("accelerator", SDKS)
def test_the_operator_that_is_slower_is_named_first(
    session: Session, tmp_path: Path, accelerator: str, tell: Callable[[str], None], in_ci: bool
) -> None:
    if not any(distributions(name=SDKS[accelerator])):
        pytest.skip(f"needs pip install 'pytest-accel[{accelerator}]'")
    before = side_with(session, accelerator, tmp_path, None)
    trials = len(CHANNELS) if in_ci else TRIALS
    named = 0
    for trial in range(trials):
        wider = trial % len(CHANNELS)
        comparison = compare_operators(side_with(session, accelerator, tmp_path, wider), before, calls=MOST_CALLS)
        assert comparison is not None
        named += comparison.changes[0].name == f"conv_{wider}"
    tell(f"{accelerator}: the slower operator was named first in {named} of {trials}")
    assert named >= (FEWEST_IN_CI if in_ci else FEWEST)
