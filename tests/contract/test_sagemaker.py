"""The contract against SageMaker's services on the loopback, through the real boto3; then what only they can do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed, UnfitInput, WorkerError
from pytest_accel.processes.client import WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import AcceleratorContract, made_up
from pytest_accel.worker.accelerator import Missing, Source
from pytest_accel.worker.accelerators.sagemaker.sagemaker import SageMaker
from tests.standins.sagemaker_runtime.running import ACCESS_KEY, SECRET_KEY, TOKEN, Loopback, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_accel.facts.fact import OptionValue
    from tests.models.zoo import Examples, Zoo

pytestmark = pytest.mark.slow  # it starts a service with a container, which computes with TensorFlow


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
    models = {"linear": linear, "two-variants": linear, "on-gpu": linear, "digits": zoo.saved_model("digits_cnn")}
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

    @pytest.mark.parametrize(
        ("gpu", "on_device"), [("idle", 0.0), ("busy", None), ("small", None), ("half", None), ("", None)]
    )
    def test_a_gpu_that_cloudwatch_saw_idle_is_told_and_nothing_follows_from_silence(
        self,
        client: WorkerClient,
        source: Source,
        tmp_path: Path,
        loopback: Loopback,
        gpu: str,
        on_device: float | None,
    ) -> None:
        on_gpu = self.complete(endpoint="on-gpu")
        client.compile(source, tmp_path, on_gpu)
        client.predict(made_up(client.load(tmp_path, on_gpu), rows=1))
        loopback.behave(gpu=gpu)
        placement, _ = client.placement()
        assert placement.on_device == on_device

    def test_whoever_may_not_ask_cloudwatch_knows_nothing(
        self, client: WorkerClient, source: Source, tmp_path: Path, loopback: Loopback
    ) -> None:
        on_gpu = self.complete(endpoint="on-gpu")
        client.compile(source, tmp_path, on_gpu)
        client.predict(made_up(client.load(tmp_path, on_gpu), rows=1))
        loopback.behave(GetMetricStatistics="denied", gpu="idle")
        assert client.placement()[0].on_device is None

    def test_cloudwatch_is_asked_nothing_about_a_processor(
        self, client: WorkerClient, artefact: Path, loopback: Loopback
    ) -> None:
        client.predict(made_up(client.load(artefact, self.complete()), rows=1))
        asked = loopback.state()["calls"].count("GetMetricStatistics")
        assert client.placement()[0].on_device is None
        assert loopback.state()["calls"].count("GetMetricStatistics") == asked

    def test_a_failure_quotes_no_credential(self, client: WorkerClient, artefact: Path, loopback: Loopback) -> None:
        loaded = client.load(artefact, self.complete())
        loopback.behave(invoke="quotes")
        with pytest.raises(WorkerError, match="check this machine's clock") as raised:
            client.predict(made_up(loaded, rows=1))
        told = f"{raised.value}{raised.value.details}"
        assert "(redacted)" in told
        assert not [secret for secret in (ACCESS_KEY, SECRET_KEY, TOKEN) if secret in told]
        assert "Signature=" not in told


def test_a_session_that_has_expired_is_told_with_what_to_do(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 renews the credentials of a role when it is first asked for them."""
    config = tmp_path / "config"
    config.write_text(
        "[profile ci]\nrole_arn = arn:aws:iam::123456789012:role/ci\nsource_profile = me\n"
        f"[profile me]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "ci")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    with Worker("sagemaker", f"{SageMaker.__module__}:{SageMaker.__qualname__}", log_dir=tmp_path) as worker:
        client = WorkerClient(worker, TestSageMaker.deadlines, deploys=True)
        missing = client.probe()
        assert isinstance(missing, Missing)
        assert missing.kind == "no-access"
        assert missing.reason.startswith("boto3's credentials cannot be used: ")
        assert "(ExpiredToken)" in missing.reason
        assert missing.action == "the session has expired: renew it, for example with `aws sso login`"
        options = {**TestSageMaker.complete(), "endpoint": "linear"}
        with pytest.raises(WorkerError, match="reading the credentials: the session has expired: renew it"):
            client.far_side(options)
