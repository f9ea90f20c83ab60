"""``--accelerator=sagemaker`` from the marker to the verdict, against the services on the loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.standins.sagemaker_runtime.running import ACCESS_KEY, SECRET_KEY, TOKEN, Loopback, running

if TYPE_CHECKING:
    from tests.models.zoo import Examples, Zoo

pytestmark = pytest.mark.slow  # it starts a service with a container, which computes with TensorFlow

ONE_TEST = """
    import numpy as np
    import pytest

    @pytest.mark.accelerator("sagemaker", {marker})
    def test_digits(accel_model):
        with np.load("val.npz") as val:
            data = val["images"], val["labels"]
        accel_model({model!r}).check(data)
"""


@pytest.fixture(scope="module")
def loopback(zoo: Zoo) -> Iterator[Loopback]:
    model = zoo.saved_model("digits_cnn")
    noisy = zoo.saved_model("digits_cnn_noisy")
    with running({"digits": model, "noisy": noisy, "on-gpu": model}) as loopback:
        yield loopback


class Project:
    """A project whose one test calls an endpoint with the digits, 90 at a time."""

    def __init__(self, pytester: pytest.Pytester, model: Path, digits_val: Examples, cache: Path) -> None:
        self._pytester = pytester
        self._model = model
        self._cache = cache
        images, labels = digits_val
        np.savez(pytester.path / "val.npz", images=images, labels=labels)

    def write_test(self, marker: str) -> None:
        self._pytester.makepyfile(ONE_TEST.format(marker=f"{marker}, batch_size=90", model=str(self._model)))

    def run(self, *args: str, elsewhere: bool = False) -> pytest.RunResult:
        """Run the test in this process, or ``elsewhere`` in another one."""
        own = [f"--accel-cache-dir={self._cache}", "-o", "accel_lock_dir=locks", "--accel-report=run.json", "-rs"]
        run = self._pytester.runpytest_subprocess if elsewhere else self._pytester.runpytest_inprocess
        return run("--accelerator=sagemaker", *own, *args)

    def record(self) -> dict[str, Any]:
        return self.records()[0]

    def records(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = json.loads((self._pytester.path / "run.json").read_text())["tests"]
        return records

    def everything_written(self) -> str:
        """The text of every file that the runs left in the project."""
        found = (path for folder in (self._pytester.path, self._cache) for path in folder.rglob("*"))
        files = [path for path in found if path.is_file() and path.suffix not in (".npz", ".npy")]
        return "\n".join(path.read_bytes().decode("utf-8", errors="replace") for path in files)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compile cache of all tests here: the reference is computed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    loopback: Loopback,
    zoo: Zoo,
    digits_val: Examples,
    cache: Path,
) -> Project:
    loopback.behave()
    for name, value in loopback.environment(pytester.path / "state").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    return Project(pytester, zoo.saved_model("digits_cnn"), digits_val, cache)


def test_without_leave_nothing_is_contacted_and_the_test_is_skipped_with_what_to_set(
    project: Project, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCEL_SAGEMAKER")
    project.write_test("endpoint='digits'")
    before = loopback.state()["calls"]
    result = project.run()
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*never contacted by itself; set ACCEL_SAGEMAKER=allow in the environment*"])
    assert loopback.state()["calls"] == before


def test_an_endpoint_is_checked_end_to_end(project: Project) -> None:
    project.write_test("endpoint='digits', p50_ms=60000")
    project.run().assert_outcomes(passed=1)
    record = project.record()
    assert record["accuracy"]["samples"] == 450
    assert record["accuracy"]["flips_lost"] == 0
    assert record["hardware"]["identity"]["instance_type"] == "ml.c5.xlarge"
    assert record["versions"]["endpoint-config"] == "digits-config"
    assert record["measurement"]["outputs_checked"] > 0
    written = project.everything_written()
    assert not [secret for secret in (ACCESS_KEY, SECRET_KEY, TOKEN) if secret in written]


def test_an_endpoint_that_answers_nan_is_inaccurate(project: Project, loopback: Loopback) -> None:
    project.write_test("endpoint='digits'")
    loopback.behave(invoke="nan")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*inaccurate: *NaN*"])


@pytest.mark.slow
def test_an_endpoint_that_serves_another_model_is_inaccurate(project: Project) -> None:
    project.write_test("endpoint='noisy', max_flips=0")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*inaccurate: *"])


def test_a_failure_names_what_to_do_and_quotes_no_credential(project: Project, loopback: Loopback) -> None:
    project.write_test("endpoint='digits'")
    loopback.behave(invoke="quotes")
    result = project.run("-vv", "--showlocals", "--log-level=DEBUG")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*EndpointFailed: calling endpoint 'digits': give boto3 valid credentials*(redacted)*"]
    )
    told = result.stdout.str() + result.stderr.str() + project.everything_written()
    assert not [secret for secret in (ACCESS_KEY, SECRET_KEY, TOKEN) if secret in told]


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("p99_ms=50", "*name an existing endpoint=, or the instance_type= to deploy one to for the test*"),
        ("endpoint='digits', instance_type='ml.c5.large'", "*name an existing endpoint=, or the instance_type=*"),
        ("endpoint='digits', accelerator_type='ml.eia2.large'", "*accelerator_type= is for an endpoint that is*"),
    ],
)
def test_what_cannot_be_called_is_a_collection_error(project: Project, marker: str, message: str) -> None:
    project.write_test(marker)
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([message])


def test_each_kind_of_instance_gets_its_image_and_nothing_is_left_when_the_run_ends(
    project: Project, loopback: Loopback
) -> None:
    """The comparison that the article makes: one model on a processor and on a GPU."""
    project.write_test("instance_type=['ml.c5.xlarge', 'ml.g4dn.xlarge'], p50_ms=60000")
    result = project.run()
    left = loopback.state()
    result.assert_outcomes(passed=2)
    images = {each["hardware"]["identity"]["instance_type"]: each["versions"] for each in project.records()}
    assert {name: versions["serving-image"] for name, versions in images.items()} == {
        "ml.c5.xlarge": "tensorflow-inference:2.19-cpu",
        "ml.g4dn.xlarge": "tensorflow-inference:2.19-gpu",
    }
    for instance_type in images:
        result.stdout.fnmatch_lines([f"endpoint pytest-accel-* on {instance_type} in eu-west-1 is billed until this*"])
    assert not [
        name for kind in ("EndpointConfig", "Model", "Object") for name in left[kind] if "pytest-accel-" in name
    ]
    assert left["calls"].count("DeleteEndpoint") == left["calls"].count("CreateEndpoint") == 2
    assert "orphaned an endpoint" not in left["calls"]


def test_an_accelerator_that_would_idle_is_refused_before_anything_is_deployed(
    project: Project, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCEL_SAGEMAKER_IMAGE_GPU")
    project.write_test("instance_type='ml.g4dn.xlarge'")
    before = deployments(loopback)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*ACCEL_SAGEMAKER_IMAGE=*-cpu: its tag names no gpu*set ACCEL_SAGEMAKER_IMAGE_GPU to*"]
    )
    assert deployments(loopback) == before


def test_a_gpu_that_idles_is_told_and_nothing_of_it_is_measured(project: Project, loopback: Loopback) -> None:
    loopback.behave(gpu="idle")
    project.write_test("endpoint='on-gpu', p50_ms=60000")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["endpoint on-gpu computes on the host: CloudWatch says that the GPU of ml.g4dn.xlarge was idle*"]
    )
    result.stdout.fnmatch_lines(["*not-measured: *0 % of the operators run on the device*"])


def test_a_deployment_that_takes_too_long_is_told_by_name_also_from_a_process_of_xdists(
    project: Project, loopback: Loopback
) -> None:
    before = deployments(loopback)
    loopback.behave(deployment="hangs")
    project.write_test("instance_type='ml.c5.xlarge'")
    for timeout_s in (3, 10, 60):  # a busy machine needs longer to ask for the endpoint
        result = project.run(f"--accel-deploy-timeout={timeout_s}", "-n1", elsewhere=True)
        if deployments(loopback) > before:
            break
    assert deployments(loopback) == before + 1
    loopback.behave()
    result.assert_outcomes(failed=1)
    late = f"*deploy was still running after {timeout_s} s and was killed; --accel-deploy-timeout gives*"
    result.stdout.fnmatch_lines([late])
    told = (
        "endpoint pytest-accel-* is billed and could not be deleted (it is still being created): delete it with `aws*"
    )
    result.stdout.fnmatch_lines([told])
    result.stderr.fnmatch_lines(["endpoint pytest-accel-* on ml.c5.xlarge in eu-west-1 is billed until this run*"])
    until_s = time.monotonic() + 60
    while any("pytest-accel-" in name for kind in ("Endpoint", "Model") for name in loopback.state()[kind]):
        assert time.monotonic() < until_s, "the process that deletes goes on after the run"
        time.sleep(0.1)


def deployments(loopback: Loopback) -> int:
    """How often an endpoint was asked for."""
    calls: list[str] = loopback.state()["calls"]
    return calls.count("CreateEndpoint")
