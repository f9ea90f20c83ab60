"""The main job on real input: ResNet-50 and a small CNN from the marker to the verdict, on TensorFlow on the CPU.

Minutes long, so it has a command of its own: ``pytest tests/acceptance -m slow``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import Workplace

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord
    from pytest_accel.facts.verdicts import Verdict
    from tests.models.zoo import Examples, Zoo

pytestmark = pytest.mark.slow

BUDGETS = "max_accuracy_drop=0.01, max_regression=0.10"
#: Where the speed compared with the baseline is not the question, one launch is enough.
BRIEFLY = ("-o", "accel_compare_budget=1")


def verdict_on(question: str, record: TestRecord) -> Verdict:
    """The most telling verdict on one question."""
    return next(verdict for verdict in record.verdicts if verdict.question == question)


@pytest.fixture(scope="module")
def saved_resnet50(
    resnet50: Path, resnet50_val: Examples, compiled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """A project with a baseline of ResNet-50."""
    return saved(Workplace(tmp_path_factory.mktemp("resnet50"), compiled), resnet50, resnet50_val, "resnet50")


@pytest.fixture(scope="module")
def saved_digits_cnn(
    digits_cnn: Path, digits_val: Examples, compiled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """A project with a baseline of the small CNN."""
    return saved(Workplace(tmp_path_factory.mktemp("digits"), compiled), digits_cnn, digits_val, "digits_cnn")


def saved(workplace: Workplace, model: Path, examples: Examples, name: str) -> Workplace:
    workplace.write_data(examples)
    workplace.write_check(model, name=name, marker=BUDGETS)
    run = workplace.run("--accel-save-baseline")
    assert run.status == 0, run.output
    run.explains(f"/{name}/cpu.json saved")
    return workplace


def test_an_unchanged_cnn_passes(saved_digits_cnn: Workplace) -> None:
    run = saved_digits_cnn.run()
    assert run.status == 0, run.output
    assert run.test.kind in ("pass", "improved")
    assert run.test.accuracy is not None
    assert run.test.accuracy.flips_lost == run.test.accuracy.flips_gained == 0


def test_a_slower_cnn_is_regressed(saved_digits_cnn: Workplace, zoo: Zoo, tmp_path: Path) -> None:
    workplace = saved_digits_cnn.copy(tmp_path)
    workplace.write_check(zoo.saved_model("digits_cnn_slower"), name="digits_cnn", marker=BUDGETS)
    run = workplace.run()
    assert run.status == 1
    assert run.test.kind == "regressed"
    assert run.test.ratio is not None
    assert 1.10 < run.test.ratio.lower <= run.test.ratio.estimate <= run.test.ratio.upper
    assert verdict_on("accuracy", run.test).kind == "pass"
    run.explains(
        f"regressed: digits_cnn[cpu] {run.test.ratio.estimate:.3f} times the baseline's time",
        "with 95 % confidence",
        "Changed since the baseline:",
        "model digest: ",
        "placement operators in float32: ",
        "Reproduce: pytest 'test_model.py::test_model[cpu]' --accelerator=cpu",
    )


def test_noise_on_the_weights_of_resnet50_is_inaccurate(saved_resnet50: Workplace, zoo: Zoo, tmp_path: Path) -> None:
    workplace = saved_resnet50.copy(tmp_path)
    workplace.write_check(zoo.saved_model("resnet50_noisy"), name="resnet50", marker=BUDGETS)
    run = workplace.run(*BRIEFLY)
    assert run.status == 1
    assert run.test.kind == "inaccurate"
    run.explains("inaccurate: resnet50[cpu] top-1 ")
    flips = re.search(r"(\d+) went from right to wrong and (\d+) from wrong to right", run.output)
    assert flips is not None, run.output
    assert all(int(count) > 0 for count in flips.groups()), run.output


def test_a_limit_below_the_possible_is_breached_with_what_shows_it(saved_resnet50: Workplace, tmp_path: Path) -> None:
    workplace = saved_resnet50.copy(tmp_path)
    text = (workplace.folder / "test_model.py").read_text().replace("max_accuracy_drop", "p99_ms=1, max_accuracy_drop")
    workplace.write_test(text)
    run = workplace.run(*BRIEFLY)
    assert run.status == 1
    assert run.test.kind == "sla-breach"
    bound = r"p99 >= [\d.]+ ms with 95 % confidence \(\d+ calls\); limit 1 ms: \d+ calls over"
    restless = r"p99: \d+ calls took [\d.]+ to [\d.]+ ms, all over the limit of 1 ms"  # they changed while timed
    assert re.search(rf"sla-breach: resnet50\[cpu\] ({bound}|{restless})", run.output), run.output


BETWEEN = """
    import contextlib

    import pytest

    from pytest_accel import CheckFailed

    @pytest.mark.accelerator("cpu")
    def test_model(accel_model):
        model = accel_model({model!r}, name="digits_cnn")
        for _ in range(12):  # noise may move the latency past the bounds between measuring and checking
            limit_ms = model.measure(calls=2000).p99_ms
            with contextlib.suppress(CheckFailed):
                record = model.check(p99_ms=limit_ms)
                if any("more would pass" in each.summary for each in record.verdicts):
                    break
"""


def test_a_limit_between_the_bounds_is_inconclusive_and_says_what_would_decide(
    digits_cnn: Path, workplace: Workplace
) -> None:
    workplace.write_test(BETWEEN.format(model=str(digits_cnn)))
    run = workplace.run()
    verdicts = [verdict_on("sla", test) for test in run.record.tests]
    assert verdicts[-1].kind == "inconclusive", verdicts
    assert re.search(r"If no further call is over, \d+ more would pass\.", verdicts[-1].summary), verdicts


def test_a_second_run_compiles_nothing(digits_cnn: Path, digits_val: Examples, workplace: Workplace) -> None:
    workplace.write_data(digits_val)
    workplace.write_check(digits_cnn, name="digits_cnn")
    cached = []
    for _ in range(2):
        run = workplace.run()
        assert run.test.measurement is not None, run.output
        cached.append((run.test.measurement.phases.compile_cached, sorted((workplace.cache / "entries").iterdir())))
    assert cached[1] == (True, cached[0][1])


def test_an_accelerator_that_is_not_here_is_skipped_and_fails_a_strict_run(
    resnet50: Path, workplace: Workplace
) -> None:
    workplace.write_test(
        f"""
        import pytest

        @pytest.mark.accelerator("cpu", "gpu-trt", p99_ms=40)
        def test_model(accel_model):
            accel_model({str(resnet50)!r}).check()
        """
    )
    lenient = workplace.run_bare("--accelerator=gpu-trt")
    assert lenient.status == 0, lenient.output
    lenient.explains("1 skipped, 1 deselected", "gpu-trt absent: no NVIDIA GPU")
    strict = workplace.run_bare("--accelerator=gpu-trt", "--accel-strict")
    assert strict.status == 1, strict.output
    strict.explains("gpu-trt absent: no NVIDIA GPU", "(--accel-strict)")


KERAS_FILE = """
        accel_model({keras!r}).check("val.npz")
"""
KERAS_MODEL = """
        import keras

        accel_model(keras.models.load_model({keras!r})).check("val.npz")
"""
CALLABLE = """
        def small_cnn():
            import keras

            return keras.models.load_model({keras!r})

        accel_model(small_cnn).check("val.npz")
"""
TF_DATASET = """
        import numpy as np
        import tensorflow as tf

        with np.load("val.npz") as val:
            batches = tf.data.Dataset.from_tensor_slices((val["x"], val["labels"])).batch(32)
        accel_model({keras!r}).check(batches)
"""


@pytest.mark.parametrize(
    ("body", "name"),
    [
        pytest.param(KERAS_FILE, "digits_cnn", id="keras file"),
        pytest.param(KERAS_MODEL, "digits_cnn", id="keras model in memory"),
        pytest.param(CALLABLE, "small_cnn", id="callable"),
        pytest.param(TF_DATASET, "digits_cnn", id="tf.data.Dataset"),
    ],
)
def test_other_forms_of_models_and_data(zoo: Zoo, workplace: Workplace, body: str, name: str) -> None:
    workplace.write_data(zoo.validation("digits_cnn"))
    marker = 'import pytest\n\n@pytest.mark.accelerator("cpu", batch_size=8)\ndef test_model(accel_model):\n'
    workplace.write_test(marker + body.replace("        ", "    ").format(keras=str(zoo.keras_file("digits_cnn"))))
    run = workplace.run()
    assert run.test.model == name
    assert verdict_on("accuracy", run.test).kind == "pass"
    assert run.test.accuracy is not None
    assert (run.test.accuracy.samples, run.test.accuracy.flips_lost) == (450, 0)
    assert run.test.accuracy.top1 == pytest.approx(zoo.accuracy("digits_cnn"))
