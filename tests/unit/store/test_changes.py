from __future__ import annotations

from typing import Any

import pytest

from pytest_accel.facts.records import Accuracy, Artefact, Placement
from pytest_accel.store.baseline import make_baseline
from pytest_accel.store.changes import changes_since, diff
from tests.unit.facts import INT8, TODAY, baseline, hardware, measurement, record


def placed(operators: dict[str, str], *, on_device: float = 0.98) -> Placement:
    return Placement(on_device=on_device, precisions={"int8": 2, "float32": 1}, operators=operators)


ARTEFACT = Artefact(key="k1", size_mb=97.8, model_digest="d1", compile_s=60.0)
OPERATORS = {"a": "gpu:int8", "b": "gpu:int8", "c": "cpu:float32"}


def test_what_is_the_same_is_not_mentioned() -> None:
    assert changes_since(baseline(), record()) == ()
    assert diff(baseline(), baseline()) == ()


@pytest.mark.parametrize(
    ("changed", "sentences"),
    [
        ({"versions": {"tensorrt": "10.16", "driver": "570.1"}}, ["version tensorrt: 10.9.0 -> 10.16"]),
        (
            {"versions": {"tensorrt": "10.9.0", "cuda": "13"}},
            ["version cuda is new: 13", "version driver is gone: it was 570.1"],
        ),
        (
            {"variant": INT8.__class__(accelerator="gpu-trt", options={**INT8.options, "batch_size": None})},
            ["option batch_size: 8 -> None"],
        ),
        (
            {"hardware": hardware(instance_type="g4dn.xlarge", device="L4")},
            ["hardware device: Tesla T4 -> L4"],
        ),
        (
            {"artefact": Artefact(key="k2", size_mb=51.23456, model_digest="d2", compile_s=1.0)},
            ["model digest: d1 -> d2", "artefact size in MB: 97.8 -> 51.23"],
        ),
        (
            {"placement": placed({**OPERATORS, "a": "cpu:float32"}, on_device=0.7)},
            [
                "placement share of operators on the accelerator: 0.98 -> 0.7",
                "operator a left the accelerator: gpu:int8 -> cpu:float32",
            ],
        ),
        (
            {"placement": placed({**OPERATORS, "b": "gpu:float32"})},
            ["operator b changed its precision: gpu:int8 -> gpu:float32"],
        ),
        ({"placement": placed({**OPERATORS, "c": "gpu:int8"})}, ["operator c moved: cpu:float32 -> gpu:int8"]),
        ({"placement": placed({**OPERATORS, "d": "cpu:float32"})}, []),
        (
            {"placement": Placement(on_device=0.98, precisions={"float32": 3})},
            ["placement operators in float32: 1 -> 3", "placement operators in int8 is gone: it was 2"],
        ),
        ({"placement": None, "artefact": None}, []),
    ],
)
def test_each_likely_cause_is_a_sentence(changed: dict[str, Any], sentences: list[str]) -> None:
    assert list(changes_since(baseline(), record(**changed))) == sentences


def test_an_option_that_was_left_open_is_not_new() -> None:
    before = INT8.__class__(accelerator="gpu-trt", options={**INT8.options, "batch_size": None})
    assert changes_since(baseline(variant=before), record()) == ("option batch_size: None -> 8",)


def test_each_entry_of_an_option_changes_for_itself() -> None:
    def having(**extra: Any) -> dict[str, Any]:
        return {"variant": INT8.__class__(accelerator="gpu-trt", options={**INT8.options, "extra": extra})}

    assert changes_since(baseline(), record(**having())) == ()
    assert changes_since(baseline(**having(level=3, sparse=True)), record(**having(level=5))) == (
        "option extra level: 3 -> 5",
        "option extra sparse: True -> None",
    )


def test_of_many_moved_operators_a_few_are_named() -> None:
    before = placed({f"conv{n}": "gpu:int8" for n in range(8)})
    now = placed({f"conv{n}": "cpu:float32" for n in range(8)})
    sentences = changes_since(baseline(placement=before), record(placement=now))
    assert len(sentences) == 6
    assert sentences[0] == "operator conv0 left the accelerator: gpu:int8 -> cpu:float32"
    assert sentences[-1] == "3 more operators moved or changed their precision"


def test_rounding_in_the_file_is_no_change() -> None:
    exact = Artefact(key="k1", size_mb=97.80000001, model_digest="d1", compile_s=60.0)
    assert changes_since(baseline(), record(artefact=exact)) == ()


def test_a_diff_tells_the_effects_too() -> None:
    slower = measurement(latencies_ns=[1_100_000 * n for n in range(1, 101)], wall_s=5.555)
    now = make_baseline(record(), [slower], (), today=TODAY)
    assert [str(change) for change in diff(baseline(), now)] == [
        "items per second: 158.4 -> 144 (0.909x)",
        "p50 in ms: 50 -> 55 (1.100x)",
        "p99 in ms: 99 -> 108.9 (1.100x)",
    ]


def accuracy(**changed: Any) -> Accuracy:
    facts = {"samples": 12, "dataset_digest": "s1", "labelled": True, "agreement": 1.0, "top1": 0.75, **changed}
    return Accuracy(**facts)


def test_a_diff_of_accuracies_needs_the_same_dataset() -> None:
    before = baseline(accuracy=accuracy())
    worse, other = baseline(accuracy=accuracy(top1=0.5)), baseline(accuracy=accuracy(top1=0.5, dataset_digest="s2"))
    assert [str(change) for change in diff(before, worse)] == ["top1: 0.75 -> 0.5"]
    assert [str(change) for change in diff(before, other)] == [
        "dataset, so accuracies do not compare: s1 -> s2",
    ]
    assert diff(before, baseline(accuracy=None)) == ()
