from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_accel.facts.errors import BaselineError
from pytest_accel.facts.records import Duet, Variant
from pytest_accel.store.agreement import disagreement
from pytest_accel.store.baseline import Baseline
from pytest_accel.store.baselines import Baselines
from tests.unit.facts import T4, baseline, compiled_baseline, duet, record


def changed(path: str, **values: Any) -> Baseline:
    """A baseline with other values in the part at ``path``, such as ``duets.0.launches.0``."""
    return msgspec.convert(_changed(msgspec.to_builtins(baseline()), path.split(".") if path else [], values), Baseline)


def _changed(data: Any, path: list[str], values: dict[str, Any]) -> Any:
    if not path:
        return {**data, **values}
    step = int(path[0]) if isinstance(data, list | tuple) else path[0]
    inner = _changed(data[step], path[1:], values)
    return [*data[:step], inner, *data[step + 1 :]] if isinstance(step, int) else {**data, step: inner}


def test_the_fields_of_a_baseline_that_was_saved_agree() -> None:
    assert disagreement(baseline()) is None


@pytest.mark.parametrize(
    ("path", "values", "told"),
    [
        ("", {"saved": "yesterday"}, "saved: 'yesterday' is no day like 2026-11-23"),
        ("hardware", {"fingerprint": "t4"}, "hardware.fingerprint: the fingerprint of this identity is g4dn.xlarge-"),
        ("hardware.identity", {"cores": 64}, "hardware.fingerprint: the fingerprint of this identity is g4dn.xlarge-"),
        ("hardware", {"identity": {"device": "T4", "cores": 2}}, "hardware.identity: it has no memory_gb"),
        ("artefact", {"key": "../../etc"}, "artefact.key: '../../etc' is no key of the compile cache"),
        ("artefact", {"key": ""}, "artefact.key: '' is no key of the compile cache"),
        ("launches.0", {"p50_ms": 91.0}, "launches[0].p50_ms: p50, p90 and p99 have to grow, and are "),
        ("launches.0", {"p99_ms": 1.0}, "launches[0].p50_ms: p50, p90 and p99 have to grow, and are "),
        ("launches.0", {"items_per_call": 1}, "launches[0].items_per_call: it is not the variant's batch_size"),
        ("duets.0.launches.0", {"log_pace": 3.0}, "duets[0].launches[0].log_pace: 3 is not the log of the medians' "),
        ("duets.0.launches.0", {"candidate_p50_ms": 99.0}, "duets[0].launches[0].log_pace: 1.6118 is not the log of"),
        ("accuracy", {"samples": 0}, "accuracy.samples: there is none"),
        ("accuracy", {"agreement": 1.5}, "accuracy.agreement: 1.5 is no share, which is 0 to 1"),
        ("accuracy", {"top1": 0.5}, "accuracy.top1: 0.916667 of the answers are right by accuracy.right"),
        ("accuracy", {"reference_top1": 0.5}, "accuracy.reference_top1: 0.916667 by accuracy.right and the flips"),
        ("accuracy", {"samples": 40}, "accuracy.right: 16 bits do not hold 40 samples"),
    ],
)
def test_two_fields_that_contradict_each_other_are_named(path: str, values: dict[str, Any], told: str) -> None:
    assert str(disagreement(changed(path, **values))).startswith(told)


def test_the_load_shape_is_the_variants() -> None:
    variant = Variant(accelerator="cpu", options={"load_shape": "server"})
    found = disagreement(baseline(variant=variant))
    assert str(found) == "launches[0].load_shape: it is not the variant's load_shape"


@pytest.mark.parametrize(("error", "agrees"), [(0.0, False), (0.01, True)])
def test_the_pace_of_pairs_that_scatter_may_be_off_by_that(error: float, agrees: bool) -> None:
    launch = msgspec.structs.replace(
        duet().launches[0], log_pace=math.log(50.123456789 / 10) + 0.55, log_pace_error=error
    )
    scattered = Duet(pacemaker="yardstick", pacemaker_digest="1", launches=(launch,))
    assert (disagreement(baseline(duets=(scattered,))) is None) is agrees


def test_the_reference_differs_by_the_flips() -> None:
    accuracy = record().accuracy
    assert accuracy is not None
    flipped = msgspec.structs.replace(accuracy, flips_lost=1, reference_top1=1.0)
    assert disagreement(baseline(accuracy=flipped)) is None
    padded = base64.b64encode(bytes([0b11111111, 0b11101111])).decode()
    assert disagreement(baseline(accuracy=msgspec.structs.replace(flipped, right=padded))) is not None


def test_what_nobody_could_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match=r"json is not written, for nobody could read it: saved: .*; measure once"):
        Baselines(tmp_path).save(changed("", saved="soon"))
    assert not list(tmp_path.iterdir())


def test_a_file_whose_fields_contradict_each_other_is_refused_by_line(tmp_path: Path) -> None:
    store = Baselines(tmp_path)
    store.save(baseline())
    (path,) = store.paths()
    path.write_text(path.read_text().replace('"log_pace": 1.6118', '"log_pace": 0.9'))
    line = path.read_text()[: path.read_text().index('"log_pace": 0.9')].count("\n") + 1
    with pytest.raises(BaselineError, match=rf"json:{line}: duets\[0\]\.launches\[0\]\.log_pace: 0\.9 is not the log"):
        store.find(T4.fingerprint, "resnet50", "gpu-trt-int8-b8")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "None"),
        ({"saved": "yesterday"}, "saved: 'yesterday' is no day"),
        ({"prediction": None}, "None"),
    ],
)
def test_a_baseline_of_what_was_not_run_agrees_with_itself_too(changes: dict[str, Any], problem: str) -> None:
    assert str(disagreement(msgspec.structs.replace(compiled_baseline(), **changes))).startswith(problem)


def test_a_prediction_agrees_with_its_answers() -> None:
    made = compiled_baseline()
    assert made.prediction is not None
    wrong = msgspec.structs.replace(made, prediction=msgspec.structs.replace(made.prediction, top1=0.5))
    assert str(disagreement(wrong)) == "prediction.top1: 0.916667 of the answers are right by prediction.right"
