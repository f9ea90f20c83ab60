"""Models as other people have them, from the marker to the verdict: quantised, in half precision, as links, large."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project
from tests.plugin.forked_tensorflow import TensorFlowServers, in_a_run

ROOT = Path(__file__).parents[2]
#: The package without which the accelerator is absent.
SDKS = {"cpu-ort": "onnxruntime", "cpu-openvino": "openvino", "cpu": "tensorflow"}
CHECK = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator({accelerators})
    def test_model(accel_model):
        accel_model({source!r}).check({data})
"""
BOTH = "'cpu-ort', 'cpu-openvino'"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := [name for name in ("cpu-ort", "cpu-openvino") if not any(distributions(name=SDKS[name]))]:
        pytest.skip(f"needs pip install 'pytest-accel[{','.join(missing)}]'")
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-m", "tests.models.onnx_recipes", folder], cwd=ROOT, check=True)
    return folder


def checked(project: Project, source: Path, accelerators: str = BOTH, data: str = "") -> pytest.RunResult:
    """One check of a model with data, on these accelerators."""
    project.pytester.makepyfile(CHECK.format(accelerators=accelerators, source=str(source), data=data))
    return project.run("--accel-report=record.json", workers=True)


def summaries(project: Project, question: str) -> list[str]:
    """What was answered to one question, in the order of the accelerators."""
    record: dict[str, Any] = json.loads((project.pytester.path / "record.json").read_text())
    answers = [answer for test in record["tests"] for answer in test["verdicts"]]
    return [answer["summary"] for answer in answers if answer["question"] == question]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["already_quantised", "half"])
def test_a_model_is_held_to_the_precision_that_it_has_itself(project: Project, models: Path, model: str) -> None:
    result = checked(project, models / f"{model}.onnx")
    result.assert_outcomes(passed=2)
    if model == "already_quantised":
        for summary in summaries(project, "placement"):
            assert "int8 (1 operator)" in summary
            assert summary.endswith(", as the model itself is.")


def test_a_precision_that_is_named_counts_whatever_the_model_has(project: Project, models: Path) -> None:
    result = checked(project, models / "already_quantised.onnx", "'cpu-ort', precision='fp32'")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*not-measured: *Placement: fp32 was asked for and *int8*; the model itself is in * without precision='fp32'."]
    )


def test_ids_that_were_made_up_are_told_to_be(project: Project, models: Path) -> None:
    result = checked(project, models / "small_table.onnx")
    result.assert_outcomes(failed=2)
    told = "an index of * asks a table for a row that it does not have, the last one is 2: check the values of the ids*"
    made_up = "inputs are made up (whole numbers: 'ids' of 1 to 9): pass a dataset with values that the model takes, *"
    result.stdout.fnmatch_lines([f"*UnfitInput: *{told}{made_up}"] * 2)


def test_ids_that_the_test_gives_are_not_said_to_be_made_up(project: Project, models: Path) -> None:
    result = checked(project, models / "small_table.onnx", "'cpu-ort'", "np.full((2, 3), 9)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UnfitInput: *an index of 9 asks a table for a row that it does not have*"])
    assert "made up" not in result.stdout.str()


def test_the_cache_of_hugging_face_is_of_links(project: Project, models: Path) -> None:
    blobs, snapshot = project.pytester.path / "blobs", project.pytester.path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, file in enumerate(("outside.onnx", "outside.onnx_data")):
        shutil.copy(models / file, blobs / str(number))
        (snapshot / file).symlink_to(f"../../blobs/{number}")
    checked(project, snapshot / "outside.onnx").assert_outcomes(passed=2)


LARGE = """
    import numpy as np
    import onnx
    import pytest

    ROWS, WIDTH = 550_000, 1024
    USED = np.arange(0, ROWS, 5000)

    def large():
        '''A table of 2.2 GB, of which most is a hole in its file.'''
        with open("table.bin", "wb") as file:
            file.truncate(4 * ROWS * WIDTH)
            for row in USED:
                file.seek(4 * row * WIDTH)
                file.write(np.random.default_rng(row).normal(size=WIDTH).astype(np.float32).tobytes())
        helper = onnx.helper
        table = onnx.TensorProto(name="table", data_type=1, dims=[ROWS, WIDTH], data_location=1)
        table.external_data.add(key="location", value="table.bin")
        nodes = [helper.make_node("Gather", ["table", "ids"], ["rows"]), helper.make_node("Tanh", ["rows"], ["y"])]
        ids = helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n", 2])
        rows = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2, WIDTH])
        graph = helper.make_graph(nodes, "graph", [ids], [rows], [table])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with open("large.onnx", "wb") as file:
            file.write(made.SerializeToString())
        return "large.onnx"

    @pytest.mark.accelerator("cpu-ort")
    def test_large(accel_model):
        accel_model(large).check(np.stack([USED, USED[::-1]], axis=1)[:8])
"""


@pytest.mark.slow
@pytest.mark.usefixtures("models")
def test_a_model_may_be_larger_than_a_message_can_be(project: Project) -> None:
    project.pytester.makepyfile(LARGE)
    project.run(workers=True, subprocess=True).assert_outcomes(passed=1)


POLICIES = """
    import keras
    import numpy as np
    import pytest

    def network(policy):
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(policy)
        x = keras.Input((8,), name="x")
        return keras.Model(x, keras.layers.Dense(3)(keras.layers.Dense(8, activation="relu")(x)))

    def float16():
        return network("mixed_float16")

    def bfloat16():
        return network("mixed_bfloat16")

    DATA = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)

    @pytest.mark.accelerator("cpu", "cpu-ort")
    def test_float16(accel_model):
        accel_model(float16).check(DATA)

    @pytest.mark.accelerator("cpu", "cpu-openvino")
    def test_bfloat16(accel_model):
        accel_model(bfloat16).check(DATA)
"""


@pytest.mark.slow
def test_a_keras_model_has_the_precision_of_its_policy(project: Project, tensorflow_servers: TensorFlowServers) -> None:
    if missing := [name for name, package in SDKS.items() if not any(distributions(name=package))]:
        pytest.skip(f"needs pip install 'pytest-accel[{','.join(missing)}]'")
    project.pytester.makepyfile(POLICIES)
    forked = in_a_run(tensorflow_servers, project.monkeypatch)
    result = project.run("--accel-report=record.json", *forked, workers=True, subprocess=True)
    result.assert_outcomes(passed=4)
    for test in read_record(project.pytester.path / "record.json").tests:
        if test.variant.accelerator == "cpu":
            (placement,) = (answer for answer in test.verdicts if answer.question == "placement")
            assert placement.summary.endswith("as the model itself is."), test.test
