"""The main job on real input: a small CNN from the marker to the verdict, on TensorFlow on the CPU.

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
    from tests.acceptance.conftest import Run
    from tests.models.zoo import Examples, Zoo

pytestmark = pytest.mark.slow

BUDGETS = "max_accuracy_drop=0.01, max_regression=0.10"
#: Where the speed compared with the baseline is not the question, one launch is enough.
BRIEFLY = ("-o", "accel_compare_budget=1")

#: SAVES is how many times the baseline is tried to be saved, which a busy machine may not decide at once.
SAVES = 3


def verdict_on(question: str, record: TestRecord) -> Verdict:
    """The most telling verdict on one question."""
    return next(verdict for verdict in record.verdicts if verdict.question == question)


@pytest.fixture(scope="module")
def saved_digits_cnn(
    digits_cnn: Path, digits_val: Examples, compiled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workplace:
    """A project with a baseline of the small CNN."""
    workplace = Workplace(tmp_path_factory.mktemp("digits"), compiled)
    workplace.write_data(digits_val)
    workplace.write_check(digits_cnn, name="digits_cnn", marker=BUDGETS)
    for _ in range(SAVES):
        run = workplace.run("--accel-save-baseline")
        if run.test.kind != "inconclusive":
            break
    assert run.status == 0, run.output
    run.explains("/digits_cnn/cpu.json saved")
    return workplace


def test_an_unchanged_cnn_is_not_compiled_again_and_passes(saved_digits_cnn: Workplace) -> None:
    made = saved_digits_cnn.artefacts()
    run = saved_digits_cnn.run()
    assert run.status == 0, run.output
    assert run.test.kind in ("pass", "improved")
    assert run.test.accuracy is not None
    assert run.test.accuracy.flips_lost == run.test.accuracy.flips_gained == 0
    assert run.test.measurement is not None
    assert run.test.measurement.phases.compile_cached
    assert saved_digits_cnn.artefacts() == made


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


def test_noise_on_the_weights_is_inaccurate(saved_digits_cnn: Workplace, zoo: Zoo, tmp_path: Path) -> None:
    workplace = saved_digits_cnn.copy(tmp_path)
    workplace.write_check(zoo.saved_model("digits_cnn_noisy"), name="digits_cnn", marker=BUDGETS)
    run = workplace.run(*BRIEFLY)
    assert run.status == 1
    assert run.test.kind == "inaccurate"
    run.explains("inaccurate: digits_cnn[cpu] top-1 ")
    flips = re.search(r"(\d+) went from right to wrong and (\d+) from wrong to right", run.output)
    assert flips is not None, run.output
    assert all(int(count) > 0 for count in flips.groups()), run.output


LIMITS = """
    import contextlib

    import pytest

    from pytest_accel import CheckFailed

    @pytest.mark.accelerator("cpu", batch_size=256, p99_ms=0.001)
    def test_below_the_possible(accel_model):
        accel_model({model!r}, name="below").check()

    @pytest.mark.accelerator("cpu")
    def test_between_the_bounds(accel_model):
        model = accel_model({model!r}, name="between")
        for _ in range(12):  # noise may move the latency past the bounds between measuring and checking
            limit_ms = model.measure(calls=2000).p99_ms
            with contextlib.suppress(CheckFailed):
                record = model.check(p99_ms=limit_ms)
                if any("more would pass" in each.summary for each in record.verdicts):
                    break
"""


@pytest.fixture(scope="module")
def limited(digits_cnn: Path, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two tests, each with a limit that its model does not keep for sure."""
    workplace = Workplace(tmp_path_factory.mktemp("limits"), compiled)
    workplace.write_test(LIMITS.format(model=str(digits_cnn)))
    return workplace.run()


def test_a_limit_below_the_possible_is_breached_with_what_shows_it(limited: Run) -> None:
    assert limited.status == 1, limited.output
    assert [test.kind for test in limited.record.tests if test.model == "below"] == ["sla-breach"]
    bound = r"p99 >= [\d.]+ ms with 95 % confidence \(\d+ calls\); limit 0.001 ms: \d+ calls over"
    restless = r"p99: \d+ calls took [\d.]+ to [\d.]+ ms, all over the limit of 0.001 ms"  # they changed while timed
    assert re.search(rf"sla-breach: below\[cpu-b256\] ({bound}|{restless})", limited.output), limited.output


def test_a_limit_between_the_bounds_is_inconclusive_and_says_what_would_decide(limited: Run) -> None:
    verdicts = [verdict_on("sla", test) for test in limited.record.tests if test.model == "between"]
    assert verdicts[-1].kind == "inconclusive", verdicts
    assert re.search(r"If no further call is over, \d+ more would pass\.", verdicts[-1].summary), verdicts


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
