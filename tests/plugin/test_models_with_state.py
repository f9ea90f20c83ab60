"""Models of TensorFlow that assign variables when they are called: counters, running statistics, recurrent states."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib.metadata import distributions

import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project
from tests.plugin.forked_tensorflow import TensorFlowServers, in_a_run

pytestmark = pytest.mark.slow

MODELS = """
    import numpy as np
    import pytest


    class Model:
        def __init__(self, folder, depends_on_calls):
            import tensorflow as tf

            module = tf.Module()
            module.weights = tf.Variable(np.random.default_rng(1).standard_normal((8, 3)).astype("float32"))
            module.calls = tf.Variable(0.0)

            @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
            def serve(x):
                module.calls.assign_add(1.0)
                return {"y": x @ module.weights + (module.calls if depends_on_calls else 0.0)}

            tf.saved_model.save(module, str(folder), signatures=serve)


    X = np.random.default_rng(0).standard_normal((24, 8)).astype("float32")
"""
COUNTED = """
    @pytest.mark.accelerator("cpu", "cpu-ort")
    def test_counted(accel_model, tmp_path):
        Model(tmp_path / "counted", depends_on_calls=False)
        model = accel_model(tmp_path / "counted")
        model.check(X)
        assert set(model.placement().operators.values()) == {"cpu:float32"}
"""
DEPENDING = """
    @pytest.mark.accelerator("cpu")
    def test_depending(accel_model, tmp_path):
        Model(tmp_path / "depending", depends_on_calls=True)
        accel_model(tmp_path / "depending").check(X)
"""
RECURRENT = """
    def stateful():
        import keras

        x = keras.Input(batch_shape=(1, 5, 4), name="x")
        return keras.Model(x, keras.layers.GRU(6, stateful=True, name="gru")(x), name="stateful")

    @pytest.mark.accelerator("cpu", "cpu-ort")
    def test_recurrent(accel_model):
        accel_model(stateful).check(X[:, :4].reshape(24, 1, 4).repeat(5, 1))
"""
TOLD = "Accuracy is not judged: the model is not deterministic * depends on earlier calls*"


@pytest.fixture
def project(project: Project) -> Project:
    if missing := [name for name in ("tensorflow", "tf2onnx") if not any(distributions(name=name))]:
        pytest.skip(f"needs {', '.join(missing)}: pip install 'pytest-accel[cpu-ort]'")
    return project


def test_an_answer_that_depends_on_earlier_calls_is_told_and_every_model_is_measured(
    project: Project, tensorflow_servers: TensorFlowServers
) -> None:
    project.pytester.makepyfile(test_model=MODELS + COUNTED + DEPENDING + RECURRENT)
    forked = in_a_run(tensorflow_servers, project.monkeypatch)
    result = project.run("--accel-report=run.json", *forked, subprocess=True, workers=True)
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines([f"inconclusive: {TOLD}"])
    tests = read_record(project.pytester.path / "run.json").tests
    told = {test.function for test in tests for answer in test.verdicts if fnmatchcase(answer.summary, TOLD)}
    assert {function.partition("::")[2] for function in told} == {"test_depending", "test_recurrent"}
