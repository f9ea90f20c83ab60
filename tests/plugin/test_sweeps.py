"""Sweeps: what a compiler refuses and what cannot keep its limit are rows of the table, and no green without a word."""

from __future__ import annotations

import pytest

from pytest_accel.report.record import read_record
from tests.plugin.conftest import Project

#: INT8 is what the compiler does not take.
NO_INT8 = {"int8": {"failures": {"compile": {"how": "refused", "message": "E17: no INT8 kernel for Erf"}}}}
PRECISIONS = "precision=['fp32', 'int8']"


@pytest.mark.parametrize(
    ("on_compile_error", "outcomes", "word", "kind"),
    [
        ("fail", {"passed": 1, "failed": 1}, "1 failed, 1 passed", "not-measured"),
        ("xfail", {"passed": 1, "xfailed": 1}, "1 passed, 1 xfailed", "refused"),
        ("record", {"passed": 1}, "1 passed, 1 refused", "refused"),
    ],
)
def test_what_the_compiler_refuses_is_a_row_whatever_becomes_of_its_test(
    project: Project, on_compile_error: str, outcomes: dict[str, int], word: str, kind: str
) -> None:
    project.write_model(by_precision=NO_INT8)
    project.write_test(f"{PRECISIONS}, on_compile_error={on_compile_error!r}")
    result = project.run("--accel-report=run.json")
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(["model on fake: 2 variants of test_model.py::test_model", f"  {kind} *int8 *E17: no*"])
    result.stdout.fnmatch_lines([f"*{word}*"])
    int8 = read_record(project.pytester.path / "run.json").tests[1]
    assert (int8.kind, int8.model, int8.variant.id, int8.measurement) == (kind, "model", "fake-int8", None)
    assert int8.verdicts[0].summary.endswith("E17: no INT8 kernel for Erf")


def test_a_refusal_while_a_fixture_compiles_is_one_too(project: Project) -> None:
    project.write_model(by_precision=NO_INT8)
    project.pytester.makepyfile(
        f"""
        import pytest

        @pytest.fixture
        def compiled(accel_model):
            return accel_model("model.fake.json")

        @pytest.mark.accelerator("fake", {PRECISIONS}, on_compile_error="record")
        def test_model(compiled):
            compiled.check()
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["  refused *int8 *E17: no*", "*1 passed, 1 refused*"])


def test_a_strict_run_allows_a_refusal_that_the_marker_allows(project: Project) -> None:
    project.write_model(by_precision=NO_INT8)
    project.write_test(f"{PRECISIONS}, on_compile_error='record', p99_ms=5")
    project.run("--accel-save-baseline", workers=True).assert_outcomes(passed=1)
    assert project.run("--accel-strict", workers=True).ret == pytest.ExitCode.OK


def test_larger_batches_than_one_that_broke_its_limit_are_not_measured(project: Project) -> None:
    project.write_model(latency_ms=9.0)
    project.write_test("cores=[1, 2], batch_size=[1, 8, 32], p99_ms=5, prune=True")
    result = project.run("--accel-report=run.json", workers=True)
    result.assert_outcomes(failed=1, passed=3)  # two cores take half as long
    result.stdout.fnmatch_lines(
        [
            "  sla-breach *b1-cores1 *",
            "  pruned *b8-cores1 *The smaller fake-b1-cores1 has broken p99_ms=5.",
            "  pruned *b32-cores1 *The smaller fake-b1-cores1 has broken p99_ms=5.",
            "*1 failed, 3 passed, 2 pruned*",
        ]
    )
    tests = read_record(project.pytester.path / "run.json").tests
    assert [test.measurement is None for test in tests] == [False, True, True, False, False, False]


@pytest.mark.parametrize("marker", ["p99_ms=5", "p99_ms=5, prune=False"])
def test_a_gate_leaves_nothing_out_unless_it_is_told_to(project: Project, marker: str) -> None:
    project.write_model(latency_ms=9.0)
    project.write_test(f"batch_size=[1, 8], {marker}")
    project.run(workers=True).assert_outcomes(failed=2)


def test_a_selection_without_the_smaller_batch_is_measured(project: Project) -> None:
    project.write_model(latency_ms=9.0)
    project.write_test("batch_size=[1, 8, 32], p99_ms=5, prune=True")
    result = project.run("-k", "not b1", workers=True)
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["  sla-breach *b8 *", "  pruned *b32 *The smaller fake-b8 has broken p99_ms=5."])


def test_each_process_of_xdist_leaves_out_what_it_has_seen_itself(project: Project) -> None:
    project.write_model(latency_ms=9.0)
    project.write_test("batch_size=[1, 8, 32, 64], p99_ms=5, prune=True")
    result = project.run("-n", "2", "--accel-report=run.json", workers=True, subprocess=True)
    tests = read_record(project.pytester.path / "run.json").tests
    assert sorted(test.variant.batch_size for test in tests) == [1, 8, 32, 64]
    kinds = {test.variant.id: test.kind for test in tests}
    assert kinds["fake-b1"] == "sla-breach"
    assert set(kinds.values()) <= {"sla-breach", "pruned"}
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("prune=True", "*prune=True needs a latency limit that a smaller batch can break, for example p99_ms=15*"),
        ("prune=True, min_throughput=5", "*prune=True needs a latency limit*"),
        ("prune='yes', p99_ms=5", "*prune='yes' is none of False, True*"),
        ("on_compile_error='recrod'", "*is none of 'fail', 'xfail', 'record', did you mean 'record'?*"),
    ],
)
def test_what_makes_no_sense_is_a_collection_error(project: Project, marker: str, message: str) -> None:
    project.write_test(marker)
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([message])
