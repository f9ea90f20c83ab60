"""``--accelerator=sagemaker`` from the marker to the verdict, against the services on the loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.standins.sagemaker_runtime.running import ACCESS_KEY, SECRET_KEY, TOKEN, Loopback, running

if TYPE_CHECKING:
    from tests.models.zoo import Examples, Zoo

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
    with running({"digits": model, "noisy": noisy}) as loopback:
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

    def run(self, *args: str) -> pytest.RunResult:
        own = [f"--accel-cache-dir={self._cache}", "-o", "accel_lock_dir=locks", "--accel-report=run.json", "-rs"]
        return self._pytester.runpytest_inprocess("--accelerator=sagemaker", *own, *args)

    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self._pytester.path / "run.json").read_text())["tests"][0]
        return record

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
