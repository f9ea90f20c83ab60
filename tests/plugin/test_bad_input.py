"""Input that cannot be right, given to a test as a user would: one clear line, and no line of ours in the traceback."""

from __future__ import annotations

import errno
import os
import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.models.zoo import Zoo
    from tests.plugin.conftest import Project

IMAGES = [{"name": "image", "dtype": "float32", "shape": [None, 2, 2]}]
TOKENS = [
    {"name": "tokens", "dtype": "int32", "shape": [None, 3]},
    {"name": "mask", "dtype": "int32", "shape": [None, 3]},
]

TEST = """
import numpy as np
import pytest

@pytest.mark.accelerator({marker})
def test_model(accel_model):
{body}
"""


def run(project: Project, body: str, *, marker: str = '"fake"', workers: bool = False) -> pytest.RunResult:
    """Run one test with this body."""
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    project.pytester.makepyfile(TEST.format(marker=marker, body=body))
    return project.run(workers=workers)


def assert_told(result: pytest.RunResult, message: str) -> None:
    """Assert that the test failed with this line, and that all lines of the traceback are the user's."""
    result.assert_outcomes(failed=1)
    escaped = message.replace("[", "[[]")
    result.stdout.fnmatch_lines([f"E  *{escaped}"])
    assert "pytest_accel/" not in result.stdout.str()


# Models


def test_no_such_model_names_the_nearest(project: Project) -> None:
    result = run(project, "accel_model('modle.fake.json').check()")
    assert_told(result, "SourceError: no model at modle.fake.json: tried *. Did you mean */model.fake.json?")


def test_no_such_folder_names_the_nearest(project: Project) -> None:
    (project.pytester.path / "exports" / "resnet50").mkdir(parents=True)
    result = run(project, "accel_model('exports/resnet5').check()")
    assert_told(result, "SourceError: no model at exports/resnet5: tried *. Did you mean */exports/resnet50?")


@pytest.mark.parametrize(
    ("inside", "advice"),
    [
        ([], "the folder is empty"),
        (["weights.bin"], "it holds weights.bin"),
        (["model.keras"], "it holds model.keras; name that file"),
        (["1/saved_model.pb"], "there is one in 1/; name that folder"),
        (["checkpoint"], "it holds a training checkpoint; load that into the model and call model.export(folder)"),
    ],
)
def test_a_folder_that_is_no_saved_model_says_what_it_is(project: Project, inside: list[str], advice: str) -> None:
    folder = project.pytester.path / "exported"
    folder.mkdir()
    for name in inside:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    result = run(project, "accel_model('exported').check()")
    assert_told(result, f"SourceError: */exported is no SavedModel (it has no saved_model.pb): {advice}")


def test_a_kind_that_the_accelerator_does_not_take(project: Project) -> None:
    (project.pytester.path / "model.onnx").write_bytes(b"onnx")
    result = run(project, "accel_model('model.onnx').check()")
    assert_told(result, "UsageError: fake cannot compile */model.onnx (onnx); it takes: fake")


def test_something_that_is_no_model(project: Project) -> None:
    result = run(project, "accel_model(42).check()")
    assert_told(result, "SourceError: cannot take a model from int: pass a SavedModel folder, a * file, *")


def test_a_function_that_fails_shows_its_own_line(project: Project) -> None:
    project.pytester.makepyfile(models="def resnet50():\n    raise OSError('weights are not here')\n")
    result = run(project, "import models\naccel_model(models.resnet50).check()")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*raise OSError('weights are not here')", "E *OSError: weights are not here"])


@pytest.mark.slow
@pytest.mark.usefixtures("quick_tensorflow")
def test_a_signature_that_does_not_exist(project: Project, zoo: Zoo) -> None:
    model = str(zoo.saved_model("digits_cnn"))
    result = run(project, f"accel_model({model!r}).check()", marker='"cpu", signature="serving"', workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *CompileFailed: the SavedModel has no signature 'serving'; it has *'serving_default': name one in *"]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("quick_tensorflow")
def test_a_saved_model_that_is_damaged(project: Project) -> None:
    (project.pytester.path / "exported").mkdir()
    (project.pytester.path / "exported" / "saved_model.pb").write_bytes(b"not a protocol buffer")
    result = run(project, "accel_model('exported').check()", marker='"cpu"', workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *CompileFailed: */exported is not a SavedModel: Error parsing message *"])


# Data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("np.ones((8, 3, 3), 'float32')", "input 'image' expects the shape (batch, 2, 2) and got (8, 3, 3)"),
        (
            "np.ones((2, 2), 'float32')",
            "*expects the shape (batch, 2, 2) and got (2, 2): the batch dimension is missing",
        ),
        (
            "np.ones((8, 2, 2))",
            "input 'image' expects float32 and got float64: convert it with array.astype(np.float32)",
        ),
        ("np.ones((8, 2, 2), 'uint8')", "input 'image' expects float32 and got uint8: *"),
        ("np.full((8, 2, 2), 'a')", "input 'image' expects float32 and got strings or objects: encode them as numbers"),
        ("np.ones((0, 2, 2), 'float32')", "the dataset has no rows: give it some; *"),
        ("[]", "the dataset has no rows: give it some; *"),
        (
            "{'imaeg': np.ones((8, 2, 2), 'float32')}",
            "the model has no input 'imaeg': did you mean 'image'? It takes image",
        ),
        ("(np.ones((8, 2, 2), 'float32'), np.zeros(7, int))", "*different numbers of rows: input 'image' 8, labels 7"),
        (
            "(np.ones((8, 2, 2), 'float32'), np.arange(8) // 2)",
            "Label 3 in row 6 is out of range: output 'y' has classes 0 to 2. Number the classes from 0, and *",
        ),
        (
            "(np.ones((8, 2, 2), 'float32'), np.full(8, -1))",
            "Label -1 in row 0 is out of range: output 'y' has classes 0 to 2. Number the classes from 0, and *",
        ),
        (
            "(np.ones((8, 2, 2), 'float32'), np.full(8, 0.5))",
            "Labels * float64 are not class numbers for output 'y': *",
        ),
        ("(np.ones((8, 2, 2), 'float32'), np.ones((8, 3)))", "Labels of shape (8, 3) * are not class numbers *"),
        ("'val.npz'", "*/val.npz: no such file; paths are relative to where pytest runs"),
        ("'val.csv'", "val.csv: a dataset file has to be an .npz *"),
        ("42", "cannot read a dataset from int: pass (inputs, labels), *"),
    ],
)
def test_data_that_does_not_fit(project: Project, data: str, message: str) -> None:
    project.write_model(inputs=IMAGES)
    assert_told(run(project, f"accel_model('model.fake.json').check({data})"), f"DatasetError: {message}")


def test_data_that_is_no_npz(project: Project) -> None:
    (project.pytester.path / "val.npz").write_text("images", encoding="ascii")
    result = run(project, "accel_model('model.fake.json').check('val.npz')")
    assert_told(result, "DatasetError: val.npz: not a readable .npz file: *. Write it with np.savez, without objects")


def test_an_input_that_is_missing(project: Project) -> None:
    project.write_model(inputs=TOKENS)
    np.savez(project.pytester.path / "val.npz", tokens=np.ones((8, 3), np.int32))
    result = run(project, "accel_model('model.fake.json').check('val.npz')")
    assert_told(result, "DatasetError: the dataset lacks the input 'mask'; it has tokens")


def test_a_shape_that_made_up_inputs_need(project: Project) -> None:
    project.write_model(inputs=[{"name": "tokens", "dtype": "int32", "shape": [None, None]}])
    result = run(project, "accel_model('model.fake.json').check()")
    assert_told(result, "DatasetError: input 'tokens' has the dynamic shape *input_shapes={'tokens': (16,)}*")


def test_a_generator_that_fails_shows_its_own_line(project: Project) -> None:
    project.pytester.makepyfile(val="def batches():\n    raise OSError('the disk is gone')\n    yield\n")
    result = run(project, "import val\naccel_model('model.fake.json').check(val.batches)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*raise OSError('the disk is gone')", "E *OSError: the disk is gone"])


# Calls


def test_an_unknown_budget_names_the_nearest(project: Project) -> None:
    result = run(project, "accel_model('model.fake.json').check(p99=5)")
    assert_told(result, "UsageError: unknown budget 'p99', did you mean 'p99_ms'? Budgets: *")


def test_an_impossible_budget_of_a_call(project: Project) -> None:
    result = run(project, "accel_model('model.fake.json').check(max_accuracy_drop=5)")
    assert_told(result, "UsageError: budget max_accuracy_drop=5 is a share, so at most 1: 0.05 means 5 %")


def test_an_unknown_option_of_a_call_names_the_nearest(project: Project) -> None:
    result = run(project, "accel_model('model.fake.json', batchsize=5).check()")
    assert_told(
        result, "UsageError: accelerator 'fake' has no option or budget 'batchsize', did you mean 'batch_size'?*"
    )


def test_a_metric_that_fails_shows_its_own_line(project: Project) -> None:
    body = """
        def word_error_rate(outputs, labels):
            assert False, "no words"

        data = (np.ones((8, 4), "float32"), np.zeros(8, int))
        accel_model("model.fake.json").check(data, metric=word_error_rate)
    """
    result = run(project, body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['>*assert False, "no words"', "E*AssertionError: no words"])


@pytest.mark.parametrize("workers", [False, True], ids=["in process", "in a worker"])
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("{'imaeg': np.ones((1, 2, 2), 'float32')}", "the model takes the inputs ['image'], got ['imaeg']"),
        ("np.ones((1, 3, 3), 'float32')", "input 'image' takes float32[None, 2, 2], got float32[1, 3, 3]"),
        ("np.ones((1, 2, 2))", "input 'image' takes float32[None, 2, 2], got float64[1, 2, 2]"),
    ],
)
def test_predicting_from_what_the_model_does_not_take(
    project: Project, inputs: str, message: str, workers: bool
) -> None:
    project.write_model(inputs=IMAGES)
    result = run(project, f"accel_model('model.fake.json').predict({inputs})", workers=workers)
    assert_told(result, f"UnfitInput: {message}")


def test_one_array_for_several_inputs(project: Project) -> None:
    project.write_model(inputs=TOKENS)
    result = run(project, "accel_model('model.fake.json').predict(np.ones((1, 3), 'int32'))")
    assert_told(result, "UsageError: model has several inputs: pass a dict with tokens, mask")


# Places


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("os.fsync", "BaselineError: */fake.json cannot be written: No space left on device; free some space, or *"),
        ("pathlib.Path.rename", "CacheError: the compile cache * No space left on device; free some space, run *"),
    ],
)
def test_a_full_disk(project: Project, call: str, message: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    project.monkeypatch.setattr(call, full)
    project.write_test()
    assert_told(project.run("--accel-save-baseline", "-p", "no:cacheprovider", workers=True), message)
    assert not list(project.baselines.rglob("*.*")), "half of a baseline is left"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--accel-cache-dir",
            "CacheError: the compile cache */file cannot be used: *; choose another folder with --accel-cache-dir",
        ),
        (
            "--accel-baseline-dir",
            "BaselineError: */fake.json cannot be read: */file is no folder; choose another folder with "
            "--accel-baseline-dir",
        ),
    ],
)
def test_a_folder_that_is_a_file(project: Project, option: str, message: str) -> None:
    file = project.pytester.path / "file"
    file.touch()
    project.write_test()
    assert_told(project.run("--accel-save-baseline", f"{option}={file}", workers=True), message)


# Tests that would be green although nothing was judged


def test_a_test_that_never_measures(project: Project) -> None:
    result = run(project, "accel_model('model.fake.json')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nothing was measured: call .check(dataset) on what accel_model(source) returns"])
    assert "pytest_accel/" not in result.stdout.str()


def test_a_budget_that_is_never_judged(project: Project) -> None:
    result = run(project, "accel_model('model.fake.json').measure()", marker='"fake", p99_ms=5')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the budget p99_ms was never judged: call .check(dataset), which judges all budgets"])
    assert "pytest_accel/" not in result.stdout.str()
