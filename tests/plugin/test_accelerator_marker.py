"""What the marker may say, what it expands to, and how it is told when it is wrong."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project


def collected(project: Project, *markers: str, body: str = "accel_model") -> list[str]:
    decorators = "\n".join(f"@pytest.mark.accelerator({marker})" for marker in markers)
    project.pytester.makepyfile(test_it=f"import pytest\n{decorators}\ndef test_it({body}): pass\n")
    result = project.run("--collect-only", "-q")
    return [line for line in result.outlines if line.startswith("test_it.py::")]


def test_a_plain_marker_is_one_variant_named_after_its_accelerator(project: Project) -> None:
    assert collected(project, "'fake'") == ["test_it.py::test_it[fake]"]


def test_list_values_expand_to_their_product(project: Project) -> None:
    assert collected(project, "'fake', precision=['fp16', 'int8'], batch_size=[1, 8]") == [
        "test_it.py::test_it[fake-fp16-b1]",
        "test_it.py::test_it[fake-fp16-b8]",
        "test_it.py::test_it[fake-int8-b1]",
        "test_it.py::test_it[fake-int8-b8]",
    ]


def test_the_entries_of_an_option_are_in_the_id(project: Project) -> None:
    assert collected(
        project, "'gpu-trt', precision='fp16', extra=[{}, {'sparse_weights': True, 'max_aux_streams': 2}]"
    ) == [
        "test_it.py::test_it[gpu-trt-fp16]",
        "test_it.py::test_it[gpu-trt-fp16-max_aux_streams2-sparse_weights]",
    ]


def test_markers_and_names_add_up(project: Project) -> None:
    assert collected(project, "'cpu', 'inf1', batch_size=2", "'fake', cores=2") == [
        "test_it.py::test_it[fake-cores2]",
        "test_it.py::test_it[cpu-b2]",
        "test_it.py::test_it[inf1-b2]",
    ]


def test_budgets_are_no_part_of_the_id(project: Project) -> None:
    assert collected(project, "'fake', p99_ms=7, max_accuracy_drop=0.01, batch_size=8") == [
        "test_it.py::test_it[fake-b8]"
    ]


def test_a_tests_marker_replaces_the_same_variant_of_its_module(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest
        pytestmark = [pytest.mark.accelerator("fake", p99_ms=1), pytest.mark.accelerator("cpu")]

        @pytest.mark.accelerator("fake", p99_ms=2)
        def test_it(accel_model):
            assert accel_model.plan.budgets.p99_ms in (2, None)
        """
    )
    result = project.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_it[[]fake[]]", "*test_it[[]cpu[]]"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("", "*the accelerator marker needs a name*"),
        ("5", "*the accelerator marker takes names, got 5*"),
        ("'gpu-tensorrt'", "*unknown accelerator 'gpu-tensorrt', did you mean 'gpu-trt'?*cpu-openvino*"),
        ("'fake', p9_ms=5", "*has no option or budget 'p9_ms', did you mean 'p99_ms'?*"),
        ("'fake', batchsize=5", "*has no option or budget 'batchsize', did you mean 'batch_size'?*"),
        ("'fake', batch_size=0", "*batch_size=0 must be at least 1*"),
        ("'fake', batch_size=True", "*batch_size=True must be of type int*"),
        ("'fake', batch_size='8'", "*batch_size='8' must be of type int*"),
        ("'fake', batch_size=[]", "*batch_size=[[][]] makes no variant at all*"),
        ("'fake', batch_size=[8, 8]", "*names a value twice*"),
        ("'fake', precision='fp61'", "*precision='fp61' is none of 'fp32', 'fp16', 'int8', did you mean 'fp16'?*"),
        ("'fake', p99_ms=0", "*budget p99_ms=0 can never be met*"),
        ("'fake', p99_ms=-1", "*budget p99_ms=-1 must be a number that is not negative*"),
        ("'fake', p99_ms='7'", "*budget p99_ms='7' must be a number*"),
        ("'fake', p99_ms=float('nan')", "*budget p99_ms=nan must be a number*"),
        ("'fake', max_accuracy_drop=1.5", "*max_accuracy_drop=1.5 is a share, so at most 1: 0.015 means 1.5 %*"),
        ("'fake', load_shape='offlin'", "*load_shape='offlin' is none of*did you mean 'offline'?*"),
        ("'fake', load_shape='offline', p99_ms=5", "*load_shape='offline' measures throughput alone; *"),
        (
            "'gpu-trt', extra={'builder_optimisation_level': 5}",
            "*'gpu-trt': extra has no entry 'builder_optimisation_level', did you mean 'builder_optimization_level'?*",
        ),
        (
            "'gpu-ort', extra={'cudnn_conv_algo_search': 'FASTEST'}",
            "*extra[[]'cudnn_conv_algo_search'[]]='FASTEST' is none of 'EXHAUSTIVE', *",
        ),
        ("'fake', input_shapes=[1]", "*input_shapes=[[]1[]] must map input names to shapes*"),
        ("'fake', on_compile_error='skip'", "*on_compile_error='skip' is none of 'fail', 'xfail', 'record'*"),
    ],
)
def test_a_wrong_marker_is_a_collection_error_that_names_the_right_one(
    project: Project, marker: str, message: str
) -> None:
    project.pytester.makepyfile(
        test_it=f"import pytest\n@pytest.mark.accelerator({marker})\ndef test_it(accel_model): pass\n"
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([message])
    assert "Traceback" not in result.stdout.str()


def test_the_same_variant_twice_on_one_test_is_an_error(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.accelerator("fake", p99_ms=1)
        @pytest.mark.accelerator("fake", p99_ms=2)
        def test_it(accel_model): pass
        """
    )
    result = project.run()
    result.stdout.fnmatch_lines(["*two accelerator markers make the same variant 'fake'; merge them into one*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_marked_test_that_could_not_measure_anything_is_an_error(project: Project) -> None:
    project.pytester.makepyfile("import pytest\n@pytest.mark.accelerator('fake')\ndef test_it(): pass\n")
    result = project.run()
    result.stdout.fnmatch_lines(["*is marked accelerator but never asks for the fixture accel_model*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_marker_on_a_module_or_class_says_nothing_to_a_test_that_needs_no_model(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import unittest
        import pytest
        pytestmark = pytest.mark.accelerator("fake", "cpu")

        def test_model(accel_model):
            assert accel_model("model.fake.json").measure()

        def test_preprocessing(): pass

        @pytest.mark.accelerator("cpu", batch_size=2)
        class TestClass:
            def test_postprocessing(self): pass

        class TestUnittest(unittest.TestCase):
            def test_tokens(self): pass
        """
    )
    project.run("--accelerator=fake").assert_outcomes(passed=4, deselected=1)


IN_PARAM = """
    import pytest

    @pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.accelerator("fake"))])
    {marker}
    def test_it(accel_model, size):
        assert accel_model("model.fake.json").measure()

    def test_other(): pass
"""


@pytest.mark.parametrize(
    ("marker", "outcomes"),
    [("", {"errors": 2, "passed": 1}), ("@pytest.mark.accelerator('fake')", {"errors": 1, "passed": 2})],
)
def test_a_marker_in_a_parameter_is_a_sentence_and_stops_no_other_test(
    project: Project, marker: str, outcomes: dict[str, int]
) -> None:
    project.pytester.makepyfile(IN_PARAM.format(marker=marker))
    result = project.run("--accelerator=fake")
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(
        ["test_it* has its accelerator marker in pytest.param, which * put the marker on the *"]
    )


def test_a_marker_in_a_fixtures_parameter_is_told_the_same(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.accelerator("fake"))])
        def size(request):
            return request.param

        @pytest.mark.accelerator("fake")
        def test_it(accel_model, size):
            assert accel_model("model.fake.json").measure()
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*has its accelerator marker in pytest.param*"])


def test_a_unittest_case_that_asks_for_a_model_is_a_sentence_and_stops_no_other_test(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import unittest
        import pytest

        @pytest.mark.accelerator("fake")
        class TestUnittest(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def inject(self, accel_model):
                self.accel_model = accel_model

            def test_model(self):
                self.accel_model("model.fake.json").check()

        @pytest.mark.accelerator("fake")
        def test_it(accel_model):
            assert accel_model("model.fake.json").measure()
        """
    )
    for arguments in ([], ["--accelerator=fake"]):
        result = project.run(*arguments)
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(
            ["test_model asks for accel_model in a unittest.TestCase, of whose methods pytest makes no variants: *"]
        )


def test_an_unmarked_test_that_asks_for_a_model_is_an_error(project: Project) -> None:
    project.pytester.makepyfile("def test_it(accel_model): pass\n")
    result = project.run()
    result.stdout.fnmatch_lines(["*asks for accel_model but has no marker*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_the_fixture_may_be_asked_for_by_another_fixture(project: Project) -> None:
    project.pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def compiled(accel_model):
            return accel_model("model.fake.json")

        @pytest.mark.accelerator("fake", batch_size=[1, 2])
        def test_it(compiled):
            assert compiled.measure().p50_ms == 1.0
        """
    )
    project.run().assert_outcomes(passed=2)


def test_the_marker_is_documented(project: Project) -> None:
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.accelerator(*names, **options_and_budgets):*"])
