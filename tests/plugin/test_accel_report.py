"""``--accel-report``: the run's record as JSON, a page, Markdown; and what a job of GitHub Actions shows by itself."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

from pytest_accel.report import write
from pytest_accel.report.markdown import MARKER
from pytest_accel.report.record import read_record
from tests.formats import check_by_promtool, read_as_gitlab, read_openmetrics, refused_by, strictly
from tests.plugin.conftest import Project


def test_the_record_holds_what_was_measured_and_decided(project: Project) -> None:
    project.write_test("p99_ms=5")
    project.run("--accel-report=out/run.json")
    run = read_record(project.pytester.path / "out" / "run.json")
    (test,) = run.tests
    assert (test.model, test.variant.id, test.test) == ("model", "fake", "test_model.py::test_model[fake]")
    assert test.measurement is not None
    assert set(test.measurement.latencies_ns) == {1_000_000}
    assert {verdict.question for verdict in test.verdicts} >= {"sla", "accuracy", "regression"}
    assert test.versions["fake-sdk"] == "1.0"


def test_it_is_written_when_tests_fail_too(project: Project) -> None:
    project.write_test("p99_ms=0.5")
    project.run("--accel-report=run.json", workers=True).assert_outcomes(failed=1)
    (test,) = read_record(project.pytester.path / "run.json").tests
    assert test.kind == "sla-breach"


def test_it_is_written_without_a_terminal(project: Project) -> None:
    project.write_test()
    result = project.run("--accel-report=run.json", "-p", "no:terminal")
    assert result.ret == 0
    assert read_record(project.pytester.path / "run.json").tests


def test_it_may_be_repeated(project: Project) -> None:
    project.write_test()
    project.run("--accel-report=one.json", "--accel-report=two.json")
    one, two = (read_record(Path(project.pytester.path / name)) for name in ("one.json", "two.json"))
    assert one.tests == two.tests


def test_absent_accelerators_are_in_it(project: Project) -> None:
    project.pytester.makepyfile(
        "import pytest\n@pytest.mark.accelerator('inf1')\ndef test_it(accel_model): accel_model('x').check()"
    )
    project.run("--accel-report=run.json")
    run = read_record(project.pytester.path / "run.json")
    assert run.absent["inf1"].startswith("no inf1 device")
    assert run.warnings == ("no accelerator test ran: nothing was measured",)


def test_another_suffix_is_a_usage_error(project: Project) -> None:
    result = project.run("--accel-report=run.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: --accel-report=run.yaml: the suffix says the format, and only "
            ".json, .html, .md, .prom, .bmf.json, .gab.json are known"
        ]
    )


def test_a_record_that_cannot_be_written_fails_the_run_and_says_so(project: Project) -> None:
    project.write_test()
    (project.pytester.path / "taken").write_text("a file", encoding="ascii")
    result = project.run("--accel-report=taken/run.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["--accel-report=*taken/run.json: *; name a file that can be written"])


# What people read


def test_a_page_and_markdown_tell_what_failed_and_how_to_see_it_again(project: Project) -> None:
    project.write_test("p99_ms=0.5")
    project.run("--accel-report=run.html", "--accel-report=run.md", workers=True).assert_outcomes(failed=1)
    for name in ("run.html", "run.md"):
        text = html.unescape((project.pytester.path / name).read_text(encoding="utf-8"))
        assert "Failed: 1 of 1 test" in text
        assert "sla-breach: model[fake] p99 >= 1 ms" in text
        assert "Reproduce: pytest 'test_model.py::test_model[fake]' --accelerator=fake" in text


def test_they_are_written_without_a_terminal_and_without_a_measurement(project: Project) -> None:
    project.pytester.makepyfile("def test_unmarked(): pass")
    assert project.run("--accel-report=run.md", "--accel-report=run.html", "-p", "no:terminal").ret == 0
    text = (project.pytester.path / "run.md").read_text(encoding="utf-8")
    assert text.startswith(f"{MARKER}\n## Nothing was measured")


CRASH = {"failures": {"infer": {"how": "sigsegv", "at_call": 1}}}
WITHOUT_A_CHECK = """
    import pytest

    @pytest.fixture
    def broken(accel_model):
        raise RuntimeError("no data")

    @pytest.mark.accelerator("fake")
    def test_by_parts(accel_model):
        assert accel_model("model.fake.json").measure().p99_ms <= 0.5

    @pytest.mark.accelerator("fake")
    def test_fixture(broken): pass

    @pytest.mark.accelerator("fake")
    @pytest.mark.xfail(strict=True)
    def test_unexpected(accel_model):
        accel_model("model.fake.json").measure()

    @pytest.mark.accelerator("fake")
    @pytest.mark.xfail(strict=True)
    def test_expected(accel_model):
        assert accel_model("model.fake.json").measure().p99_ms <= 0.5

    def test_unmarked(): assert False
"""


@pytest.mark.parametrize("xdist", [[], ["-n", "2"]])
def test_failures_are_in_the_record_whether_their_checks_are_or_not(project: Project, xdist: list[str]) -> None:
    project.pytester.makepyfile(test_it=WITHOUT_A_CHECK)
    project.run("--accel-report=run.json", *xdist, subprocess=bool(xdist))
    run = read_record(project.pytester.path / "run.json")
    found = {failure.test.removeprefix("test_it.py::"): failure for failure in run.failures}
    assert sorted(found) == ["test_by_parts[fake]", "test_fixture[fake]", "test_unexpected[fake]"]
    assert found["test_by_parts[fake]"].message.startswith("assert p99 ms 1 <= 0.5\n")
    assert found["test_fixture[fake]"].message == "RuntimeError: no data"
    assert found["test_unexpected[fake]"].message.startswith("[XPASS(strict)]")
    assert {failure.file for failure in run.failures} == {"test_it.py"}
    lines = (project.pytester.path / "test_it.py").read_text(encoding="utf-8").splitlines()
    assert "p99_ms <= 0.5" in lines[found["test_by_parts[fake]"].line - 1]
    assert "no data" in lines[found["test_fixture[fake]"].line - 1]


def test_a_crash_is_told_with_what_the_worker_left(project: Project) -> None:
    project.write_model(**CRASH)
    project.write_test()
    project.run("--accel-report=run.json", workers=True).assert_outcomes(failed=1)
    (failure,) = read_record(project.pytester.path / "run.json").failures
    assert failure.message.startswith("fake: the worker was killed by SIGSEGV")
    assert "Segmentation fault" in failure.details


def test_hardware_that_a_strict_run_misses_is_a_failure(project: Project) -> None:
    project.pytester.makepyfile(
        "import pytest\n@pytest.mark.accelerator('inf1')\ndef test_it(accel_model): accel_model('x').check()"
    )
    project.run("--accel-report=run.json", "--accel-strict")
    run = read_record(project.pytester.path / "run.json")
    assert run.strict
    assert run.failures[0].message.startswith("Failed: inf1 absent: no inf1 device")


def test_the_page_without_jinja2_is_a_usage_error_at_start_up(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "find_spec", lambda _name: None)
    result = project.run("--accel-report=run.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --accel-report=run.html: the page needs jinja2*'pytest-accel[[]report]'"])


# What other programs read


def test_other_programs_read_what_was_measured(project: Project) -> None:
    """Each judges its file by rules of its own. A sweep and a test that fails are in them."""
    project.pytester.makepyfile(
        test_model="""
        import pytest

        @pytest.mark.accelerator("fake", batch_size=[1, 2])
        def test_sweep(accel_model):
            accel_model("model.fake.json").check(p99_ms=5)

        @pytest.mark.accelerator("fake")
        def test_slow(accel_model):
            accel_model("model.fake.json").check(p99_ms=0.5)
        """
    )
    reports = ("run.prom", "run.bmf.json", "run.gab.json")
    project.run(*(f"--accel-report={name}" for name in reports), workers=True).assert_outcomes(passed=2, failed=1)
    prom, bmf, gab = ((project.pytester.path / name).read_text(encoding="utf-8") for name in reports)
    found = read_openmetrics(prom)
    assert set(found["pytest_accel_latency_seconds"].values()) == {0.001}
    assert sorted(found["pytest_accel_passed"].values()) == [0, 1, 1]
    assert len(read_as_gitlab(prom)) == sum(map(len, found.values()))
    assert refused_by("bencher_metric_format", bmf) == []
    assert strictly(bmf)["model test_model.py::test_slow[fake]"]["latency-p50-ms"]["value"] == 1.0
    assert refused_by("github_action_benchmark", gab) == []
    values = {entry["name"]: entry["value"] for entry in strictly(gab)}
    assert values["model test_model.py::test_sweep[fake-b2]: latency p50"] == 1.0
    check_by_promtool(prom)


# GitHub Actions

#: Nothing is smaller, so a test with this budget fails, wherever its model runs.
TOO_LARGE = "max_artefact_mb=1e-9"


@pytest.fixture
def summary(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of GitHub Actions and the file of its step's summary."""
    path = project.pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.pytester.path.parent))
    return path


def test_a_job_gets_its_summary_and_annotations(project: Project, summary: Path) -> None:
    project.write_test(TOO_LARGE)
    result = project.run()
    assert summary.read_text(encoding="utf-8").startswith("## Failed: 1 of 1 test")
    place = f"file={project.pytester.path.name}/test_model.py,line=5,title=test_model.py%3A%3Atest_model[[]fake]"
    result.stdout.fnmatch_lines(
        [
            f"::error {place}::sla-breach: model[[]fake] The artefact's size *%0AReproduce: *",
            "::warning title=accelerators::no-baseline: *",
        ]
    )


def test_another_plugin_that_annotates_failures_is_left_to_it(project: Project, summary: Path) -> None:
    project.write_test(TOO_LARGE)
    plugin = "pytest_github_actions_annotate_failures"
    project.pytester.makeconftest(
        (project.pytester.path / "conftest.py").read_text(encoding="utf-8")
        + f"\ndef pytest_configure(config): config.pluginmanager.register(object(), {plugin!r})"
    )
    result = project.run()
    result.stdout.no_fnmatch_line("::error*")
    result.stdout.fnmatch_lines(["::warning*"])


def test_a_project_that_wants_none_of_it_gets_none(project: Project, summary: Path) -> None:
    project.write_test(TOO_LARGE)
    result = project.run("-o", "accel_github=false")
    result.stdout.no_fnmatch_line("::*")
    assert not summary.exists()


def test_a_run_without_accelerator_tests_says_nothing_to_github(project: Project, summary: Path) -> None:
    project.pytester.makepyfile("def test_unmarked(): assert False")
    project.run().stdout.no_fnmatch_line("::*")
    assert not summary.exists()


def test_elsewhere_nothing_is_said(project: Project, summary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    project.write_test(TOO_LARGE)
    project.run().stdout.no_fnmatch_line("::*")
    assert not summary.exists()


def test_a_summary_that_cannot_be_written_is_a_warning(project: Project, summary: Path) -> None:
    summary.mkdir()
    project.write_test()
    result = project.run()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["GITHUB_STEP_SUMMARY=*summary.md: Is a directory"])


HALF_A_CHARACTER = """
    import pytest

    @pytest.mark.accelerator("fake")
    def test_model(accel_model):
        accel_model("model.fake.json").check()
        raise {raises}
"""


@pytest.mark.parametrize("raises", ["ValueError('half \\ud83d')", "AssertionError('half \\udcff')"])
def test_half_a_character_in_a_message_ends_its_test_and_no_run(project: Project, raises: str) -> None:
    project.pytester.makepyfile(test_model=HALF_A_CHARACTER.format(raises=raises))
    reports = [f"--accel-report=run.{suffix}" for suffix in ("json", "html", "md")]
    result = project.run(*reports, "--junitxml=run.xml")
    result.assert_outcomes(failed=1)
    run = read_record(project.pytester.path / "run.json")
    assert run.failures[0].message.endswith((r"half \ud83d", r"half \udcff"))


def test_half_a_character_in_a_vendors_words_leaves_the_words(project: Project) -> None:
    project.write_model(failures={"load": {"how": "refused", "message": "no operator \udcff here"}})
    project.write_test()
    result = project.run("--accel-report=run.json", workers=True)
    result.assert_outcomes(failed=1)
    (failure,) = read_record(project.pytester.path / "run.json").failures
    assert failure.message == r"no operator \udcff here"


GREEN_ALONE = """
    import os
    import pytest

    @pytest.fixture
    def data():
        yield
        {teardown}

    @pytest.fixture
    def missing():
        {setup}

    @pytest.mark.accelerator("fake")
    def test_green(accel_model, data):
        accel_model("model.fake.json").check()

    @pytest.mark.accelerator("fake")
    def test_other(missing, accel_model):
        {call}
"""


@pytest.mark.parametrize(
    ("parts", "args", "headline"),
    [
        ({"teardown": "raise OSError('disk')"}, ["-k", "green"], "Failed: 1 of 1 test"),
        ({"setup": "raise OSError('no data')"}, [], "Failed: 1 of 2 tests"),
        (
            {"call": "os.kill(os.getpid(), 9)"},
            ["-n", "1", "--max-worker-restart=0"],
            "Failed: 1 of 2 test",
        ),
        ({"call": "raise KeyboardInterrupt"}, [], "Failed: the run was interrupted before its end"),
        ({}, ["-k", "green", "--continue-on-collection-errors", "broken.py", "test_it.py"], "Failed: 1 of 2 tests"),
    ],
    ids=["teardown", "a fixture before ours", "a worker of xdist's", "Ctrl-C", "collection"],
)
def test_no_report_says_that_a_run_passed_which_did_not(
    project: Project, parts: dict[str, str], args: list[str], headline: str
) -> None:
    (project.pytester.path / "broken.py").write_text("import no_such_module", encoding="ascii")
    parts = {"teardown": "pass", "setup": "pass", "call": "accel_model('model.fake.json').check()", **parts}
    project.pytester.makepyfile(test_it=GREEN_ALONE.format(**parts))
    summary = project.pytester.path / "summary.md"
    project.monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = project.run("--accel-report=run.md", *args, subprocess=True)
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.INTERNAL_ERROR)
    report = (project.pytester.path / "run.md").read_text(encoding="utf-8")
    assert report.startswith(f"{MARKER}\n## {headline}")
    assert summary.read_text(encoding="utf-8").startswith(f"## {headline}")


def test_a_run_without_accelerator_tests_tells_github_nothing_of_its_failures(project: Project) -> None:
    project.monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.pytester.path / "summary.md"))
    project.pytester.makepyfile(test_it="import no_such_module")
    project.run().assert_outcomes(errors=1)
    assert not (project.pytester.path / "summary.md").exists()
