"""Models whose inputs and outputs are not all batches of finite samples, on the real ONNX Runtime and OpenVINO."""

from __future__ import annotations

import textwrap
from importlib.metadata import distributions
from typing import Any

import pytest

from tests.models import onnx_shapes
from tests.plugin.conftest import Project

# Imported before the first project, or each project would import it anew, which its native part does not survive.
pytest.importorskip("onnx")

#: The package without which the accelerator is absent.
SDKS = {"cpu-ort": "onnxruntime", "cpu-openvino": "openvino"}
CHECK = """
    import numpy as np
    import pytest

    RNG = np.random.default_rng(0)
    {before}

    @pytest.mark.accelerator({marker})
    def test_model(accel_model):
        {body}
"""


@pytest.fixture
def project(project: Project) -> Project:
    if missing := [name for name, package in SDKS.items() if not any(distributions(name=package))]:
        pytest.skip(f"needs pip install 'pytest-accel[{','.join(missing)}]'")
    return project


def checked(project: Project, marker: str, body: str, before: str = "", *args: str) -> pytest.RunResult:
    """Run one test of ``model.onnx``; ``body`` is what it does with it, or only what it calls check with."""
    body = textwrap.dedent(body).strip() if "accel_model" in body else f'accel_model("model.onnx").check({body})'
    before = textwrap.indent(textwrap.dedent(before), "    ").strip()
    project.pytester.makepyfile(
        test_model=CHECK.format(marker=marker, body=textwrap.indent(body, " " * 8).strip(), before=before)
    )
    return project.run(*args, workers=True)


BOTH = "'cpu-ort', 'cpu-openvino'"
X = "RNG.normal(size=(24, 8)).astype('float32')"


def test_an_output_of_rank_0_is_compared_in_every_call_and_told(project: Project) -> None:
    onnx_shapes.scalar(project.pytester.path / "model.onnx")
    result = checked(project, f"{BOTH}, batch_size=8", X)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["compared call by call, since it cannot be split into samples: output 'mean' (*"])


def test_labels_score_the_output_that_has_rows_and_a_scalar_beside_it_is_judged_too(project: Project) -> None:
    onnx_shapes.scalar(project.pytester.path / "model.onnx")
    result = checked(project, "'cpu-ort', batch_size=8", f"({X}, np.arange(24) % 4)")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*top-1 *%*"])


@pytest.mark.parametrize("marker", ["'cpu-ort', precision='int8'", "'cpu-openvino', precision='int8'"])
def test_every_box_is_compared_although_the_first_is_exact(project: Project, marker: str) -> None:
    onnx_shapes.boxes(project.pytester.path / "model.onnx")
    body = """
        x = RNG.normal(size=(60, 6)).astype("float32")
        found = accel_model("model.onnx", calibration=x[:40]).evaluate(x[40:])
        assert found.by_call == ("boxes",)
        assert found.outputs[0].max_abs > 1e-3
    """
    checked(project, marker, body).assert_outcomes(passed=1)


def test_rows_that_depend_on_the_data_are_those_of_the_same_call(project: Project) -> None:
    onnx_shapes.positive(project.pytester.path / "model.onnx")
    checked(project, f"{BOTH}, batch_size=8", X).assert_outcomes(passed=2)


SENTENCES = "[{'ids': RNG.integers(0, 100, (1, length))} for length in (3, 9, 4, 4, 17)]"


@pytest.mark.slow
def test_sentences_of_any_length_are_compared_one_by_one(project: Project) -> None:
    onnx_shapes.tokens(project.pytester.path / "model.onnx")
    before = """
        def share(tokens, labels):
            assert tokens.ndim == 3
            return float(np.mean(tokens.argmax(-1) == 0))
    """
    checked(project, BOTH, SENTENCES).assert_outcomes(passed=2)
    checked(project, BOTH, f"{SENTENCES}, metric=share", before).assert_outcomes(passed=2)


def test_labels_of_what_has_no_samples_name_the_way_out(project: Project) -> None:
    onnx_shapes.tokens(project.pytester.path / "model.onnx")
    labelled = "[({'ids': RNG.integers(0, 100, (1, length))}, np.zeros((1, length), int)) for length in (3, 9)]"
    result = checked(project, "'cpu-ort'", labelled)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*DatasetError: The labels are of samples, and no output has a row for each: 'y' can only*"]
    )
    before = "def right(tokens, labels): return float(np.mean(tokens.argmax(-1) == labels))"
    checked(project, "'cpu-ort'", f"{labelled}, metric=right", before).assert_outcomes(passed=1)


@pytest.mark.parametrize(("batch", "size"), [("N", 2), (-1, 3), (1, 1)])
def test_a_state_has_its_batch_in_the_middle(project: Project, batch: Any, size: int) -> None:
    onnx_shapes.streaming(project.pytester.path / "model.onnx", batch)
    checked(project, f"{BOTH}, batch_size={size}", "").assert_outcomes(passed=2)


def test_the_data_of_a_state_come_sample_by_sample(project: Project) -> None:
    onnx_shapes.streaming(project.pytester.path / "model.onnx", "N")
    data = """[{"audio": RNG.normal(size=(1, 160)).astype("float32"), "state": np.full((2, 1, 160), at, "float32"),
        "rate": np.array(16000)} for at in range(7)]"""
    checked(project, "'cpu-ort', batch_size=[1, 3]", data).assert_outcomes(passed=2)


def test_a_batch_that_a_state_was_not_exported_for_is_refused_with_one_that_works(project: Project) -> None:
    onnx_shapes.streaming(project.pytester.path / "model.onnx", 1)
    result = checked(project, f"{BOTH}, batch_size=2", "")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*CompileFailed: input 'audio' has * no dimension of 2: ask for batch_size=1, or *"])


def test_steps_may_come_before_the_batch(project: Project) -> None:
    onnx_shapes.recurrent(project.pytester.path / "model.onnx")
    data = "RNG.normal(size=(5, 13, 4)).astype('float32')"
    checked(project, f"{BOTH}, batch_size=4", data).assert_outcomes(passed=2)


@pytest.mark.slow
def test_calibration_takes_its_samples_from_where_the_batch_is(project: Project) -> None:
    onnx_shapes.recurrent(project.pytester.path / "model.onnx")
    body = """
        x = RNG.normal(size=(5, 90, 4)).astype("float32")
        found = accel_model("model.onnx", calibration=x[:, :60]).evaluate(x[:, 60:])
        assert (found.samples, found.calibration_samples) == (30, 60)
    """
    checked(project, "'cpu-openvino', precision='int8', batch_size=4", body).assert_outcomes(passed=1)


def test_outputs_next_to_zero_are_not_inaccurate_by_rounding(project: Project) -> None:
    onnx_shapes.nothing_to_find(project.pytester.path / "model.onnx")
    result = checked(project, "'cpu-openvino'", "RNG.normal(size=(40, 3, 8, 8)).astype('float32')")
    result.assert_outcomes(passed=1)


@pytest.mark.slow
def test_missing_values_and_masks_are_judged_by_the_outputs(project: Project) -> None:
    onnx_shapes.missing_value(project.pytester.path / "model.onnx")
    missing = "np.where(np.arange(40).reshape(20, 2) % 7, 1, np.nan).astype('float32')"
    checked(project, "'cpu-ort'", missing).assert_outcomes(passed=1)
    onnx_shapes.masked(project.pytester.path / "model.onnx")
    mask = "np.where(np.arange(8) < 5, 0, -np.inf).astype('float32')[None].repeat(24, 0)"
    checked(project, BOTH, f"{{'scores': {X}, 'mask': {mask}}}").assert_outcomes(passed=2)


@pytest.mark.parametrize(("seed", "says"), [(None, "each time"), (1.0, "its answer depends on earlier calls")])
def test_a_model_that_draws_numbers_is_told_and_measured(project: Project, seed: float | None, says: str) -> None:
    onnx_shapes.drawing(project.pytester.path / "model.onnx", seed)
    told = f"*Accuracy is not judged: the model is not deterministic*{says}*"
    result = checked(project, "'cpu-ort'", X)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([told])
    assert "cannot be true" not in result.stdout.str()
    result = checked(project, "'cpu-ort'", X, "", "--accel-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([told])
