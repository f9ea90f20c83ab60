"""The contract against SageMaker's services on the loopback, through the real boto3; then what only they can do."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import psutil
import pytest

from pytest_accel.facts.errors import CompileFailed, DeadlineExceeded, UnfitInput, WorkerError
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.accelerators.sagemaker.sagemaker import SageMaker
from tests.deadlines import pass_once
from tests.standins.sagemaker_runtime.running import ACCESS_KEY, SECRET_KEY, TOKEN, Loopback, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_accel.facts.fact import OptionValue
    from tests.models.zoo import Examples, Zoo

#: What is billed, or lies about, as long as it exists.
KINDS = ("Endpoint", "EndpointConfig", "Model", "Object")
DEADLINES = Deadlines(compile_s=600.0, run_s=60.0)


@pytest.fixture(scope="module")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server writes its own network."""
    return tmp_path_factory.mktemp("source") / "linear"


@pytest.fixture(scope="module")
def loopback(zoo: Zoo, linear: Path, state_home: Path) -> Iterator[Loopback]:
    """The services in a process of their own, with boto3 led to them."""
    models = {"linear": linear, "two-variants": linear, "digits": zoo.saved_model("digits_cnn")}
    with running(models) as loopback, pytest.MonkeyPatch.context() as patch:
        for name, value in loopback.environment(state_home).items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield loopback


@pytest.fixture(autouse=True)
def well_behaved(loopback: Loopback) -> Iterator[None]:
    yield
    loopback.behave()


class TestSageMaker(AcceleratorContract):
    accelerator = SageMaker
    options: ClassVar[Mapping[str, OptionValue]] = {"endpoint": "linear"}

    @pytest.fixture(scope="class")
    @classmethod
    def python(cls, loopback: Loopback) -> str:
        return sys.executable

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, linear: Path) -> Source:
        return Source("saved_model", str(linear))

    @pytest.mark.parametrize("payload", ["instances", "inputs", "npy"])
    def test_every_payload_is_answered_as_the_model_answers(
        self, client: WorkerClient, zoo: Zoo, digits_val: Examples, tmp_path: Path, payload: str
    ) -> None:
        digits, labels = digits_val
        options = self.complete(endpoint="digits", payload=payload, batch_size=len(labels))
        client.compile(Source("saved_model", str(zoo.saved_model("digits_cnn"))), tmp_path, options)
        loaded = client.load(tmp_path, options)
        (scores,) = client.predict({loaded.signature.inputs[0].name: digits}).values()
        assert np.mean(scores.argmax(axis=1) == labels) == pytest.approx(zoo.accuracy("digits_cnn"), abs=0.003)

    def test_what_serialising_takes_is_told_apart_from_the_call_that_it_is_a_part_of(
        self, client: WorkerClient, artefact: Path
    ) -> None:
        parts = {}
        for rows in (1, 200):
            client.stage([made_up(client.load(artefact, self.complete(batch_size=rows)), rows=rows)])
            timed = client.measure("single_stream", calls=10, checks=1)
            assert timed.parts_ms.keys() == {"serialising", "parsing"}
            assert 0 < sum(timed.parts_ms.values()) < max(timed.latencies_ns) / 1e6
            parts[rows] = timed.parts_ms
        assert parts[200]["serialising"] > parts[1]["serialising"]

    def test_a_body_over_the_limit_is_refused_before_it_is_sent(
        self, client: WorkerClient, artefact: Path, loopback: Loopback
    ) -> None:
        loaded = client.load(artefact, self.complete(batch_size=6000))
        calls = len(loopback.state()["calls"])
        with pytest.raises(UnfitInput, match=r"body has 7,\d{3},\d{3} bytes and .* takes 6,291,456: ask for a smaller"):
            client.predict(made_up(loaded, rows=6000))
        assert len(loopback.state()["calls"]) == calls

    def test_the_far_side_is_told_by_the_endpoint_itself(self, client: WorkerClient) -> None:
        there = client.far_side(self.complete())
        assert there.identity == {
            "device": "SageMaker ml.c5.xlarge",
            "instance_type": "ml.c5.xlarge",
            "accelerator_type": None,
            "instances": 1,
            "region": "eu-west-1",
        }
        assert there.versions["endpoint-config"] == "linear-config"
        assert there.versions["serving-image"].endswith("@sha256:0123abcd")

    def test_an_endpoint_that_was_deployed_anew_is_not_the_one_of_the_artefact(
        self, client: WorkerClient, artefact: Path
    ) -> None:
        with pytest.raises(
            CompileFailed, match=r"deployed anew .*endpoint-config linear-config -> two-variants-config"
        ):
            client.load(artefact, self.complete(endpoint="two-variants", production_variant="blue"))

    def test_of_several_production_variants_one_is_measured(
        self, client: WorkerClient, source: Source, tmp_path: Path
    ) -> None:
        with pytest.raises(CompileFailed, match=r"\['blue', 'green'\]: say which .* production_variant='blue'"):
            client.far_side(self.complete(endpoint="two-variants"))
        options = self.complete(endpoint="two-variants", production_variant="green")
        client.compile(source, tmp_path / "green", options)
        assert client.predict(made_up(client.load(tmp_path / "green", options), rows=1))

    def test_an_endpoint_that_is_not_there_is_refused_by_name(self, client: WorkerClient) -> None:
        with pytest.raises(
            CompileFailed, match=r"describing endpoint 'nowhere': check the names.*Could not find endpoint"
        ):
            client.far_side(self.complete(endpoint="nowhere"))

    def test_an_endpoint_that_is_being_changed_is_not_measured(self, client: WorkerClient, loopback: Loopback) -> None:
        loopback.behave(deployment="updating")
        with pytest.raises(CompileFailed, match="endpoint 'linear' is Updating; wait until it is InService"):
            client.far_side(self.complete())

    @pytest.mark.parametrize(
        ("habit", "error", "message"),
        [
            (
                "throttled",
                WorkerError,
                r"EndpointFailed: calling endpoint 'linear': calls come faster .*\(.*Rate exceeded",
            ),
            ("unavailable", WorkerError, "no instance took the call: look at the instances' load"),
            ("not-ready", WorkerError, "the model is still being loaded: wait"),
            ("internal", WorkerError, "the service failed: try again"),
            ("dependency", WorkerError, "a service behind SageMaker failed: try again"),
            ("denied", WorkerError, "let the role that calls do this operation .*not authorized to perform"),
            ("expired", WorkerError, "the session has expired: renew it"),
            (
                "container-failed",
                WorkerError,
                r"the container failed: look at the endpoint's logs .*out of memory.*500\)",
            ),
            ("breaks", WorkerError, "look at the endpoint's logs in CloudWatch: a container that ends drops its calls"),
            ("slow=1", WorkerError, "a container has 60 s for a call: look at its logs, or raise read_timeout_s"),
            ("nonsense", WorkerError, "has neither predictions nor outputs"),
            ("other-variant=green", WorkerError, "variant 'green' answered for 'AllTraffic'"),
        ],
    )
    def test_what_is_not_answered_fails_with_what_to_do_after_one_try(
        self, client: WorkerClient, artefact: Path, loopback: Loopback, habit: str, error: type[Exception], message: str
    ) -> None:
        loaded = client.load(artefact, self.complete(read_timeout_s=0.3 if "slow" in habit else 70.0))
        loopback.behave(invoke=habit)
        calls = loopback.state()["calls"].count("InvokeEndpoint")
        with pytest.raises(error, match=message):
            client.predict(made_up(loaded, rows=1))
        assert loopback.state()["calls"].count("InvokeEndpoint") == calls + 1, "a retry would hide in the latency"
        loopback.behave()
        assert client.predict(made_up(loaded, rows=1))

    def test_what_the_container_does_not_take_is_refused_with_its_words(
        self, client: WorkerClient, artefact: Path
    ) -> None:
        loaded = client.load(artefact, self.complete(model_name="other"))
        with pytest.raises(UnfitInput, match=r"no such model: check model_name .*Servable not found.*404"):
            client.predict(made_up(loaded, rows=1))

    def test_a_failure_quotes_no_credential(self, client: WorkerClient, artefact: Path, loopback: Loopback) -> None:
        loaded = client.load(artefact, self.complete())
        loopback.behave(invoke="quotes")
        with pytest.raises(WorkerError, match="check this machine's clock") as raised:
            client.predict(made_up(loaded, rows=1))
        told = f"{raised.value}{raised.value.details}"
        assert "(redacted)" in told
        assert not [secret for secret in (ACCESS_KEY, SECRET_KEY, TOKEN) if secret in told]
        assert "Signature=" not in told


class TestDeployed:
    """An endpoint that exists for the test alone."""

    @pytest.fixture(scope="class")
    @classmethod
    def artefact(cls, loopback: Loopback, linear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("artefact")
        with cls.worker(tmp_path_factory.mktemp("log")) as client:
            client.compile(Source("saved_model", str(linear)), folder, cls.deployed())
        return folder

    @classmethod
    def deployed(cls, **changes: OptionValue) -> dict[str, OptionValue]:
        defaults = {name: option.default for name, option in SageMaker.options().items()}
        return {**defaults, "instance_type": "ml.g4dn.xlarge", **changes}

    @classmethod
    @contextmanager
    def worker(cls, log_dir: Path) -> Iterator[WorkerClient]:
        """A worker that is killed at the end, as workers are."""
        reference = f"{SageMaker.__module__}:{SageMaker.__qualname__}"
        with Worker("sagemaker", reference, log_dir=log_dir) as worker:
            yield WorkerClient(worker, DEADLINES)

    @pytest.fixture(autouse=True)
    def nothing_stays(self, loopback: Loopback, well_behaved: None) -> Iterator[None]:
        yield
        loopback.behave()
        eventually(lambda: not created(loopback))

    def test_it_answers_like_any_other_and_is_gone_once_its_worker_was_killed(
        self, artefact: Path, loopback: Loopback, tmp_path: Path
    ) -> None:
        with self.worker(tmp_path) as client:
            loaded = client.load(artefact, self.deployed())
            assert {kind: len(names) for kind, names in created(loopback).items()} == dict.fromkeys(KINDS, 1)
            images = np.eye(64, dtype=np.float32).reshape(64, 8, 8, 1)
            weights = client.predict({loaded.signature.inputs[0].name: images})["scores"]
        np.testing.assert_allclose(weights, np.random.default_rng(7).normal(size=(64, 10)), rtol=1e-6)
        eventually(lambda: not created(loopback))
        assert "orphaned an endpoint" not in loopback.state()["calls"], "a configuration stays as long as its endpoint"

    def test_workers_of_one_run_share_it_until_the_last_has_ended(
        self, artefact: Path, loopback: Loopback, tmp_path: Path
    ) -> None:
        before = deployments(loopback)
        with self.worker(tmp_path) as second:
            with self.worker(tmp_path) as first:
                first.load(artefact, self.deployed())
                loaded = second.load(artefact, self.deployed())
            assert second.predict(made_up(loaded, rows=1))
            second.load(artefact, self.deployed())
            assert deployments(loopback) == before + 1

    @pytest.mark.parametrize(
        ("habits", "message"),
        [
            ({"deployment": "fails"}, r"endpoint pytest-accel-\w+-\w+ is Failed: The primary container did not pass"),
            ({"CreateEndpoint": "quota"}, "deploying to ml.g4dn.xlarge: the account's quota does not allow it"),
            ({"PutObject": "no-bucket"}, "name a bucket that is there in ACCEL_SAGEMAKER_S3"),
        ],
    )
    def test_what_cannot_be_deployed_is_refused_and_cleared_away(
        self, artefact: Path, loopback: Loopback, tmp_path: Path, habits: dict[str, str], message: str
    ) -> None:
        loopback.behave(**habits)
        with self.worker(tmp_path) as client, pytest.raises(CompileFailed, match=message):
            client.load(artefact, self.deployed())
        eventually(lambda: not created(loopback))

    def test_a_test_that_dies_while_it_deploys_leaves_nothing(
        self, artefact: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = deployments(loopback)
        loopback.behave(deployment="hangs")
        with self.worker(tmp_path) as client:
            pass_once(monkeypatch, lambda: deployments(loopback) > before)
            with pytest.raises(DeadlineExceeded, match="killed"):
                client.load(artefact, self.deployed())
        assert deployments(loopback) == before + 1
        eventually(lambda: not created(loopback))

    def test_what_was_left_when_everything_was_killed_is_deleted_by_the_next_run(
        self, artefact: Path, loopback: Loopback, state_home: Path, tmp_path: Path
    ) -> None:
        with self.worker(tmp_path) as client:
            client.load(artefact, self.deployed())
            (journal,) = state_home.rglob("*.json")
            for deleter in deleters(journal):
                assert "TMPDIR" not in deleter.environ(), "it lives longer than the worker's temporary folder"
                deleter.kill()
        assert created(loopback)["Endpoint"], "nobody was left to delete it"
        with self.worker(tmp_path) as client:
            client.probe()
        eventually(lambda: not created(loopback))
        eventually(lambda: not journal.exists())

    def test_nothing_is_deployed_while_something_cannot_be_deleted(
        self, artefact: Path, loopback: Loopback, state_home: Path, tmp_path: Path
    ) -> None:
        loopback.behave(DeleteEndpoint="denied")
        with self.worker(tmp_path) as client:
            client.load(artefact, self.deployed())
            (journal,) = state_home.rglob("*.json")
        eventually(lambda: "AccessDeniedException on DeleteEndpoint" in journal.read_text())
        with (
            self.worker(tmp_path) as client,
            pytest.raises(
                CompileFailed,
                match=r"is billed and could not be deleted .*aws sagemaker delete-endpoint --endpoint-name",
            ),
        ):
            client.load(artefact, self.deployed(instance_type="ml.c5.large"))

    def test_what_the_account_has_to_lend_is_asked_for_by_name(
        self, artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ACCEL_SAGEMAKER_ROLE")
        with (
            self.worker(tmp_path) as client,
            pytest.raises(CompileFailed, match="needs ACCEL_SAGEMAKER_ROLE in the env"),
        ):
            client.far_side(self.deployed())

    def test_a_container_that_takes_no_npy_says_so(self, artefact: Path, tmp_path: Path) -> None:
        with self.worker(tmp_path) as client:
            loaded = client.load(artefact, self.deployed(payload="npy"))
            with pytest.raises(UnfitInput, match=r"this content type: ask for payload='instances' .*Unsupported Media"):
                client.predict(made_up(loaded, rows=1))


def created(loopback: Loopback) -> dict[str, list[str]]:
    """What was created for a test and is still there, by kind."""
    state: dict[str, Any] = loopback.state()
    ours = {kind: [name for name in state[kind] if "pytest-accel-" in name] for kind in KINDS}
    return {kind: names for kind, names in ours.items() if names}


def deployments(loopback: Loopback) -> int:
    """How often an endpoint was asked for."""
    calls: list[str] = loopback.state()["calls"]
    return calls.count("CreateEndpoint")


def deleters(journal: Path) -> list[psutil.Process]:
    """The processes that wait to delete what a journal names."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[-1] == str(journal) and process.info["cmdline"][0] == sys.executable
    ]


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what another process does soon."""
    until_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until_s, "it never happened"
        time.sleep(0.05)
