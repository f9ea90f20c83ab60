from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_accel.check.accel_model import AccelModel
from pytest_accel.facts.errors import AccelError, DatasetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.conftest import Workshop

TWO_INPUTS = [{"name": name, "dtype": "float32", "shape": [None, 2]} for name in ("a", "b")]
TWO_OUTPUTS = [{"name": name, "dtype": "float32", "shape": [None, 2]} for name in ("y", "z")]
ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture
def handed(workshop: Workshop, request: pytest.FixtureRequest) -> Iterator[AccelModel]:
    """What a test with the marker's keywords in ``request.param`` gets."""
    workshop.model(identity=True, compile_s=7)
    model = AccelModel(workshop.session, workshop.plan(**getattr(request, "param", {})), test="test_it")
    yield model
    model.close()


marked = pytest.mark.parametrize("handed", [{"p99_ms": 5, "batch_size": 2}], indirect=True)


@marked
def test_a_compiled_model_tells_what_it_is(handed: AccelModel) -> None:
    compiled = handed("model.fake.json", "resnet")
    assert (compiled.name, compiled.variant, compiled.compile_s) == ("resnet", handed.variant, 7)
    assert compiled.size_mb > 0


@marked
def test_a_call_may_have_other_options_than_the_marker(handed: AccelModel) -> None:
    assert handed("model.fake.json", batch_size=8, precision="int8").variant.id == "fake-int8-b8"
    assert handed("model.fake.json").variant.id == "fake-b2"


def test_it_is_loaded_once_and_only_when_it_is_used(workshop: Workshop, handed: AccelModel) -> None:
    compiled = handed("model.fake.json")
    assert "load" not in workshop.asked
    compiled.predict(ROW)
    compiled.placement()
    compiled.measure(calls=3)
    assert workshop.count("load") == 1


def test_one_input_and_one_output_need_no_names(handed: AccelModel) -> None:
    compiled = handed("model.fake.json")
    for inputs in (ROW, {"x": ROW}, {"x": [[np.float32(at) for at in range(4)]]}):
        np.testing.assert_array_equal(compiled.predict(inputs), [[0, 1, 2]])


def test_several_inputs_and_outputs_go_by_name(workshop: Workshop, handed: AccelModel) -> None:
    workshop.model("both", inputs=TWO_INPUTS, outputs=TWO_OUTPUTS, identity=True)
    compiled = handed("both.fake.json")
    outputs = compiled.predict({"a": ROW[:, :2], "b": ROW[:, 2:]})
    assert {name: array.tolist() for name, array in outputs.items()} == {"y": [[0, 1]], "z": [[0, 1]]}
    with pytest.raises(UsageError, match="both has several inputs: pass a dict with a, b"):
        compiled.predict(ROW)


def test_every_measurement_is_passed_on(handed: AccelModel) -> None:
    passed_on: list[Any] = []
    handed.on_measurement = lambda latencies_ns, facts: passed_on.append((len(latencies_ns), facts))
    compiled = handed("model.fake.json")
    compiled.measure(calls=3)
    compiled.check()
    facts = {"accelerator": "fake", "variant": "fake"}
    assert passed_on == [(3, facts), (100, facts)]


@marked
def test_a_call_of_check_may_have_other_budgets(handed: AccelModel) -> None:
    record = handed("model.fake.json", p50_ms=4).check(p99_ms=6)
    assert (record.budgets.p99_ms, record.budgets.p50_ms) == (6, 4)
    assert handed.records == [record]


def test_a_test_that_measured_nothing_does_not_pass(handed: AccelModel) -> None:
    handed("model.fake.json")
    with pytest.raises(UsageError, match=r"nothing was measured: call \.check\(dataset\) on what"):
        handed.require_judged()


@pytest.mark.parametrize("look", ["predict", "evaluate", "measure", "placement", "check"])
def test_a_test_without_budgets_may_judge_what_it_likes(handed: AccelModel, look: str) -> None:
    getattr(handed("model.fake.json"), look)(*([ROW] if look == "predict" else []))
    handed.require_judged()


@marked
def test_a_budget_of_the_marker_has_to_be_judged(handed: AccelModel) -> None:
    compiled = handed("model.fake.json")
    compiled.measure()
    with pytest.raises(UsageError, match=r"the budget p99_ms was never judged: call \.check"):
        handed.require_judged()
    compiled.check()
    handed.require_judged()


def test_a_budget_of_the_call_has_to_be_judged_too(handed: AccelModel) -> None:
    handed("model.fake.json", max_artefact_mb=5).measure()
    with pytest.raises(UsageError, match="the budget max_artefact_mb was never judged"):
        handed.require_judged()


def test_its_workers_end_with_the_test(handed: AccelModel) -> None:
    compiled = handed("model.fake.json")
    compiled.placement()
    worker = compiled._loaded.client.worker
    assert worker.alive
    handed.close()
    assert not worker.alive


# Strict runs


@pytest.fixture
def strict(workshop: Workshop, handed: AccelModel) -> AccelModel:
    """The same in a strict run; in this process no speed is judged, so what fails a check is left out here."""
    workshop.start_again(strict=True)
    handed.session = workshop.session
    return handed


def passed(handed: AccelModel, monkeypatch: pytest.MonkeyPatch, *args: Any, **named: Any) -> None:
    """A check that passes, whatever it finds."""
    monkeypatch.setattr("pytest_accel.check.accel_model.require_passed", lambda *_, **__: None)
    handed(*args).check(**named)


@pytest.mark.parametrize(
    ("go_wrong", "told"),
    [
        (lambda model: model("model.fake.json").check(np.ones((2, 9))), "a check of model[fake] failed (DatasetError)"),
        (lambda model: model("model.fake.json").check(), "a check of model[fake] failed (inconclusive)"),
        (lambda model: model("other.fake.json"), "compiling a model failed (SourceError)"),
        (lambda model: model("other.fake.json", "bert"), "compiling bert failed (SourceError)"),
    ],
    ids=["data", "verdict", "source", "named source"],
)
def test_a_strict_test_does_not_go_on_after_a_failure(
    strict: AccelModel, monkeypatch: pytest.MonkeyPatch, go_wrong: Any, told: str
) -> None:
    with pytest.raises((AccelError, AssertionError)):
        go_wrong(strict)
    passed(strict, monkeypatch, "model.fake.json")
    with pytest.raises(UsageError, match=f"{re.escape(told)} and the test went on, which --accel-strict does not"):
        strict.require_judged()


def test_a_strict_test_does_not_end_before_its_checks(strict: AccelModel, monkeypatch: pytest.MonkeyPatch) -> None:
    passed(strict, monkeypatch, "model.fake.json")
    with (
        strict.step("a check of model[fake]"),
        pytest.raises(UsageError, match=r"a check of model\[fake\] had not ended when the test did, which"),
    ):
        strict.require_judged()
    strict.require_judged()


@marked
def test_a_strict_test_judges_what_its_marker_names(
    strict: AccelModel, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_accel.check.accel_model.require_passed", lambda *_, **__: None)
    strict("model.fake.json", batch_size=8).check()
    with pytest.raises(UsageError, match="the marked variant fake-b2 was never judged, which --accel-strict does not"):
        strict.require_judged()
    strict("model.fake.json").check(p99_ms=None)  # type: ignore[arg-type]
    strict.records.pop(0)
    with pytest.raises(UsageError, match="the budget p99_ms was given and taken back, which --accel-strict does not"):
        strict.require_judged()
    strict("model.fake.json", precision="int8").check()
    strict.require_judged()


def test_a_check_that_came_to_no_verdict_has_not_judged(strict: AccelModel) -> None:
    with pytest.raises(DatasetError):
        strict("model.fake.json").check(np.ones((2, 9)))
    strict._failed.clear()
    strict.looked()
    with pytest.raises(UsageError, match=r"model\[fake\] was compiled and never judged"):
        strict.require_judged()
