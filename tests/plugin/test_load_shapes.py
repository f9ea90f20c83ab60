"""Several streams and servers, from the marker to the verdict, on a fake accelerator that takes 2 ms a call."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project


@pytest.fixture
def project(project: Project) -> Project:
    project.write_model(latency_ms=2.0)
    return project


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("'fake', load_shape='multi_stream'", "*keeps several calls in flight: say how many, *concurrency=2*"),
        (
            "'fake', concurrency=4",
            "*concurrency=4 has no meaning for load_shape='single_stream'; use *",
        ),
        ("'fake', load_shape='offline', concurrency=2", "*concurrency=2 has no meaning for load_shape='offline'*"),
        ("'fake', rate=10", "*rate=10.0 has no meaning for load_shape='single_stream'; use 'server'*"),
        ("'fake', load_shape='multi_stream', concurrency=2, rate=10", "*rate=10.0 has no meaning*"),
        ("'fake', load_shape='server', rate=0", "*rate=0 must be at least 0.001*"),
        ("'fake', load_shape='server', rate=5, min_throughput=5", "*leave min_throughput out*"),
    ],
)
def test_a_load_that_makes_no_sense_is_a_collection_error(project: Project, marker: str, message: str) -> None:
    project.pytester.makepyfile(
        test_it=f"import pytest\n@pytest.mark.accelerator({marker})\ndef test_it(accel_model): pass\n"
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([message])


def test_streams_and_rates_are_part_of_the_id(project: Project) -> None:
    project.write_test(marker="load_shape='server', concurrency=[1, 2], rate=[100, 250.5]")
    result = project.run("--collect-only", "-q")
    assert [line.partition("[")[2] for line in result.outlines if "::" in line] == [
        "fake-concurrency1-server-rate100.0]",
        "fake-concurrency1-server-rate250.5]",
        "fake-concurrency2-server-rate100.0]",
        "fake-concurrency2-server-rate250.5]",
    ]


def test_several_streams_are_judged_by_latency_and_throughput(project: Project) -> None:
    project.write_test(marker="load_shape='multi_stream', concurrency=[2, 4], p99_ms=3, min_throughput=1500")
    result = project.run(workers=True)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*sla-breach: *concurrency2*Throughput <= 1000 items/s*needed 1500*"])


def test_a_rate_that_is_kept_within_its_limit_passes(project: Project) -> None:
    project.write_test(marker="load_shape='server', rate=100, p99_ms=10")
    project.run(workers=True).assert_outcomes(passed=1)


@pytest.mark.parametrize(("marker", "kept"), [("rate=600", "500"), ("rate=1200, concurrency=2, p99_ms=100000", "1000")])
def test_an_overload_fails_and_names_the_rate_that_could_be_kept(project: Project, marker: str, kept: str) -> None:
    project.write_test(marker=f"load_shape='server', {marker}")
    result = project.run(workers=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*sla-breach: *Overload: *, but only about {kept} calls/s can be kept*"])
    result.stdout.no_fnmatch_line("*p99 <=*")


def test_a_server_needs_a_rate_to_be_measured_at(project: Project) -> None:
    project.write_test(marker="load_shape='server'")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*needs to know how many calls arrive a second, for example rate=100; max_rate*"])


ONE_BY_ONE = """
    from pytest_accel.testing import FakeAccelerator

    class OneByOne(FakeAccelerator):
        concurrent = False

    def pytest_accel_accelerators():
        return {"fake": "conftest:OneByOne"}
"""


@pytest.mark.parametrize("load", ["load_shape='server', rate=5", "load_shape='multi_stream', concurrency=2"])
def test_an_accelerator_that_runs_one_call_at_a_time_takes_neither(project: Project, load: str) -> None:
    project.pytester.makeconftest(ONE_BY_ONE)
    project.write_test(marker=load)
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*'fake': load_shape='*' is not possible, because it runs one call at a time; use *"])


def searching(project: Project, marker: str, body: str) -> pytest.RunResult:
    project.pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.accelerator({marker})
        def test_it(accel_model):
            model = accel_model("model.fake.json")
            {body}
        """
    )
    return project.run()


@pytest.mark.slow
def test_the_highest_rate_grows_with_the_lanes_more_than_in_proportion(project: Project) -> None:
    result = searching(
        project,
        "'fake', load_shape='server', concurrency=[1, 2], batch_size=4",
        "lanes = accel_model.variant.options['concurrency']\n"
        "            found = model.max_rate(p99_ms=8)\n"
        "            assert found.capacity == pytest.approx(500 * lanes)\n"
        "            least, most = {1: (0.3, 0.45), 2: (0.55, 0.75)}[lanes]\n"
        "            assert least * found.capacity < found.rate < most * found.capacity",
    )
    result.assert_outcomes(passed=2)


def test_a_rate_that_is_too_low_fails_with_what_it_stands_on(project: Project) -> None:
    result = searching(project, "'fake'", "assert model.max_rate(p99_ms=8).rate >= 400")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*calls/s * >= 400*", "*At */s: p99 <= * with 95 % confidence *"])


@pytest.mark.parametrize(
    ("marker", "call", "message"),
    [
        ("'fake'", "max_rate()", "*max_rate needs a latency limit to keep, for example max_rate(p99_ms=15)*"),
        ("'fake'", "max_rate(min_accuracy=1)", "*max_rate takes latency limits such as p99_ms=15, not min_accuracy*"),
        ("'fake'", "max_rate(p98_ms=1)", "*unknown budget 'p98_ms', did you mean 'p9*"),
    ],
)
def test_a_search_without_a_limit_is_an_error(project: Project, marker: str, call: str, message: str) -> None:
    result = searching(project, marker, f"model.{call}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_an_accelerator_that_runs_one_call_at_a_time_has_no_highest_rate(project: Project) -> None:
    project.pytester.makeconftest(ONE_BY_ONE)
    result = searching(project, "'fake'", "model.max_rate(p99_ms=8)")
    result.stdout.fnmatch_lines(["*max_rate needs an accelerator whose calls can arrive at any time, which fake*"])
