"""boto3's clients against botocore's own models of the services, without a network."""

from __future__ import annotations

import io
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.sagemaker.body import LIMIT_BYTES
from pytest_accel.worker.accelerators.sagemaker.deployment import Order, pack
from pytest_accel.worker.accelerators.sagemaker.endpoint import Account, Behind, Calls
from pytest_accel.worker.accelerators.sagemaker.errors import EndpointFailed, explained, without_credentials
from pytest_accel.worker.accelerators.sagemaker.leftovers import PREFIX
from pytest_accel.worker.accelerators.sagemaker.sagemaker import SageMaker

if TYPE_CHECKING:
    from pathlib import Path

botocore = pytest.importorskip("botocore")

BEHIND = Behind("digits", "blue", "ml.c5.xlarge", None, 1, {})
#: Every operation that is used, with what is sent and what is read.
USED: Mapping[str, Mapping[str, tuple[set[str], set[str]]]] = {
    "sagemaker-runtime": {
        "InvokeEndpoint": (
            {"EndpointName", "TargetVariant", "Body", "ContentType", "Accept", "CustomAttributes"},
            {"Body", "ContentType", "InvokedProductionVariant"},
        ),
    },
    "sagemaker": {
        "DescribeEndpoint": (
            {"EndpointName"},
            {"EndpointStatus", "FailureReason", "EndpointConfigName", "ProductionVariants", "CreationTime"},
        ),
        "DescribeEndpointConfig": ({"EndpointConfigName"}, {"ProductionVariants", "CreationTime"}),
        "CreateModel": ({"ModelName", "ExecutionRoleArn", "PrimaryContainer", "Tags"}, {"ModelArn"}),
        "CreateEndpointConfig": ({"EndpointConfigName", "ProductionVariants", "Tags"}, {"EndpointConfigArn"}),
        "CreateEndpoint": ({"EndpointName", "EndpointConfigName", "Tags"}, {"EndpointArn"}),
        "DeleteEndpoint": ({"EndpointName"}, set()),
        "DeleteEndpointConfig": ({"EndpointConfigName"}, set()),
        "DeleteModel": ({"ModelName"}, set()),
        "ListEndpoints": ({"NameContains"}, {"Endpoints"}),
        "ListEndpointConfigs": ({"NameContains"}, {"EndpointConfigs"}),
        "ListModels": ({"NameContains"}, {"Models"}),
        "ListTags": ({"ResourceArn"}, {"Tags"}),
        "AddTags": ({"ResourceArn", "Tags"}, set()),
        "DescribeModel": ({"ModelName"}, {"PrimaryContainer"}),
    },
    "cloudwatch": {
        "GetMetricStatistics": (
            {"Namespace", "MetricName", "Dimensions", "StartTime", "EndTime", "Period", "Statistics"},
            {"Datapoints"},
        ),
    },
    "s3": {"PutObject": ({"Bucket", "Key", "Body"}, set()), "DeleteObject": ({"Bucket", "Key"}, set())},
}
MEMBERS = {
    "ProductionVariant": {"VariantName", "ModelName", "InitialInstanceCount", "InstanceType", "AcceleratorType"},
    "ProductionVariantServerlessConfig": {"MemorySizeInMB"},
    "ProductionVariantSummary": {"VariantName", "CurrentInstanceCount", "DeployedImages"},
    "DeployedImage": {"SpecifiedImage", "ResolvedImage"},
    "ContainerDefinition": {"Image", "ModelDataUrl"},
}


def model_of(service: str) -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model(service)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    credentials = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_SESSION_TOKEN": "t0k",
    }
    for name, value in {**credentials, "AWS_DEFAULT_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return Account()


@pytest.fixture
def client(account: Account) -> Any:
    return account.timed(1.0, connections=10)


@pytest.fixture
def stubber(client: Any) -> Iterator[Any]:
    """Answers in the network's place, and checks what is sent and answered against the service's model."""
    from botocore.stub import Stubber

    with Stubber(client) as stubber:
        yield stubber


@pytest.fixture
def calls(account: Account, client: Any) -> Calls:
    return Calls(account, BEHIND, client, "application/json", "tfs-model-name=digits")


def answer(**changed: Any) -> dict[str, Any]:
    from botocore.response import StreamingBody

    facts = {"Body": StreamingBody(io.BytesIO(b"{}"), 2), "ContentType": "application/json"}
    return {**facts, "ResponseMetadata": {"RetryAttempts": 0}, **changed}


@pytest.mark.parametrize(("service", "operation"), [(service, name) for service, used in USED.items() for name in used])
def test_every_operation_and_member_is_in_botocores_model(service: str, operation: str) -> None:
    sent, read = USED[service][operation]
    model = model_of(service).operation_model(operation)
    assert sent <= model.input_shape.members.keys()
    assert not read or read <= model.output_shape.members.keys()


@pytest.mark.parametrize("shape", MEMBERS)
def test_every_nested_member_is_in_botocores_model(shape: str) -> None:
    assert MEMBERS[shape] <= model_of("sagemaker").shape_for(shape).members.keys()


def test_every_error_of_a_call_and_every_status_has_its_advice() -> None:
    from pytest_accel.worker.accelerators.sagemaker import errors

    runtime = model_of("sagemaker-runtime")
    answered = {shape.name for shape in runtime.operation_model("InvokeEndpoint").error_shapes}
    assert answered - {"ModelError"} <= errors._OF_SERVICE.keys()
    assert {"OriginalStatusCode", "OriginalMessage"} <= runtime.shape_for("ModelError").members.keys()


def test_every_status_of_an_endpoint_is_one_that_was_thought_of() -> None:
    waited_for, bad_ends = {"Creating"}, {"OutOfService", "Failed", "Deleting", "UpdateRollbackFailed"}
    of_others = {"Updating", "SystemUpdating", "RollingBack"}  # nobody else may change what is deployed for a test
    known = {"InService", *waited_for, *bad_ends, *of_others}
    assert set(model_of("sagemaker").shape_for("EndpointStatus").enum) == known


def test_a_name_fits_what_the_service_takes() -> None:
    name = f"{PREFIX}{'0' * 12}-{'0' * 8}-{'0' * 6}"
    for shape in ("EndpointName", "EndpointConfigName", "ModelName"):
        limits = model_of("sagemaker").shape_for(shape).metadata
        assert len(name) <= limits["max"]
        assert re.fullmatch(limits["pattern"], name)
    limits = model_of("sagemaker").shape_for("EndpointNameContains").metadata
    assert re.fullmatch(limits["pattern"], PREFIX)


def test_elastic_inference_has_ended_for_the_service_too() -> None:
    variant = model_of("sagemaker").shape_for("ProductionVariant")
    assert "no longer supported" in variant.members["AcceleratorType"].documentation


def test_every_exception_of_botocores_that_is_explained_exists() -> None:
    from botocore import exceptions

    from pytest_accel.worker.accelerators.sagemaker import errors

    assert not [name for name in errors._OF_CLIENT if not hasattr(exceptions, name)]


def test_the_limit_of_a_body_is_the_services() -> None:
    assert model_of("sagemaker-runtime").shape_for("BodyBlob").metadata["max"] == LIMIT_BYTES


def test_a_timed_client_tries_once_and_has_a_connection_for_every_lane(account: Account) -> None:
    config = account.timed(7.0, connections=32).meta.config
    assert config.retries["total_max_attempts"] == 1
    assert (config.read_timeout, config.max_pool_connections) == (7.0, 32)


def test_a_call_asks_for_its_variant_and_its_model(calls: Calls, stubber: Any) -> None:
    stubber.add_response(
        "invoke_endpoint",
        answer(InvokedProductionVariant="blue"),
        {
            "EndpointName": "digits",
            "TargetVariant": "blue",
            "Body": b"[1]",
            "ContentType": "application/json",
            "Accept": "application/json",
            "CustomAttributes": "tfs-model-name=digits",
        },
    )
    assert calls(b"[1]") == (b"{}", "application/json")


def test_an_answer_after_a_retry_is_no_measurement(calls: Calls, stubber: Any) -> None:
    stubber.add_response("invoke_endpoint", answer(ResponseMetadata={"RetryAttempts": 2}))
    with pytest.raises(EndpointFailed, match="answered after 2 retries, so the call's time is not its own"):
        calls(b"[1]")


def test_an_answer_of_another_variant_is_no_measurement(calls: Calls, stubber: Any) -> None:
    stubber.add_response("invoke_endpoint", answer(InvokedProductionVariant="green"))
    with pytest.raises(EndpointFailed, match="variant 'green' answered for 'blue'"):
        calls(b"[1]")


def test_a_service_that_cannot_be_reached_is_told_with_where_to_look(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:1")
    calls = Calls(account, BEHIND, account.timed(1.0, connections=1), "application/json", "")
    with pytest.raises(EndpointFailed, match=r"check the region, and whether this machine's network .*127\.0\.0\.1:1"):
        calls(b"[1]")


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (499, Refused), (500, EndpointFailed), (503, EndpointFailed)]
)
def test_the_containers_own_status_says_whose_fault_it_is(
    calls: Calls, stubber: Any, status: int, kind: type[Exception]
) -> None:
    told = {"OriginalStatusCode": status, "OriginalMessage": "its words"}
    stubber.add_client_error("invoke_endpoint", "ModelError", "Received", 424, modeled_fields=told)
    with pytest.raises(kind, match=f"its words, status {status}"):
        calls(b"[1]")


def test_no_traceback_brings_back_what_was_redacted(account: Account) -> None:
    from botocore.exceptions import ClientError

    quoted = {"Error": {"Code": "InvalidSignatureException", "Message": f"signed with {account.secrets}"}}
    with pytest.raises(EndpointFailed) as raised, account.explained("calling"):
        raise ClientError(quoted, "InvokeEndpoint")
    told = "".join(traceback.format_exception(raised.value))
    assert "(redacted)" in told
    assert not [secret for secret in account.secrets if secret in told]


@pytest.mark.parametrize(
    ("text", "redacted_text"),
    [
        ("key AKIAIOSFODNN7EXAMPLE of somebody", "key (redacted) of somebody"),
        ("x-amz-security-token:FwoGZXIvYXdzE== host:h", "(redacted) host:h"),
        ("Credential=AKIA/2026/eu, Signature=0a1b2c, x", "(redacted), (redacted), x"),
        ("the secret is hush", "the secret is (redacted)"),
        ("Rate exceeded", "Rate exceeded"),
    ],
)
def test_what_signs_a_request_is_redacted_wherever_it_stands(text: str, redacted_text: str) -> None:
    assert without_credentials(text, ["hush", ""]) == redacted_text


def test_a_stranger_among_errors_is_told_as_it_is() -> None:
    with pytest.raises(EndpointFailed, match=r"^calling failed \(.*Brand New"), explained("calling", ()):
        raise botocore.exceptions.ClientError({"Error": {"Code": "BrandNew", "Message": "Brand New"}}, "InvokeEndpoint")


@pytest.mark.parametrize(
    ("location", "bucket", "prefix"), [("s3://models/ci/", "models", "ci"), ("s3://models", "models", "")]
)
def test_a_place_in_s3_is_a_bucket_and_perhaps_a_prefix(
    monkeypatch: pytest.MonkeyPatch, location: str, bucket: str, prefix: str
) -> None:
    order_something(monkeypatch, location)
    order = Order.for_instance("ml.c5.xlarge")
    assert (order.bucket, order.prefix) == (bucket, prefix)


@pytest.mark.parametrize("location", ["models/ci", "s3://", "https://models"])
def test_another_place_is_refused(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    order_something(monkeypatch, location)
    with pytest.raises(Refused, match="has to be s3://BUCKET/PREFIX"):
        Order.for_instance("ml.c5.xlarge")


def order_something(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    for name, value in {"ROLE": "arn:aws:iam::1:role/r", "IMAGE": "image:1", "S3": location}.items():
        monkeypatch.setenv(f"ACCEL_SAGEMAKER_{name}", value)


def test_the_same_model_is_packed_to_the_same_bytes(tmp_path: Path) -> None:
    archives = []
    for copy in ("one", "other"):
        model = tmp_path / copy / "variables"
        model.mkdir(parents=True)
        for name in ("b", "a") if copy == "one" else ("a", "b"):
            (model / name).write_text(name)
        (model / "a").touch()
        pack(str(tmp_path / copy), str(tmp_path / f"{copy}.tar.gz"))
        archives.append((tmp_path / f"{copy}.tar.gz").read_bytes())
    assert archives[0] == archives[1]


@pytest.mark.parametrize(
    ("unset", "kind", "reason"),
    [
        (("AWS_DEFAULT_REGION",), "no-access", "boto3 knows no region"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "no-access", "boto3 finds no credentials"),
    ],
)
def test_what_boto3_lacks_is_told(
    account: Account, monkeypatch: pytest.MonkeyPatch, unset: tuple[str, ...], kind: str, reason: str
) -> None:
    for name in (*unset, "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    missing = SageMaker().probe()
    assert (missing.kind, missing.reason) == (kind, reason)  # type: ignore[union-attr]


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    missing = SageMaker().probe()
    assert (missing.kind, missing.action) == ("no-sdk", "pip install 'pytest-accel[sagemaker]'")  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [None, "", "yes", "1"])
def test_only_the_word_itself_opts_in(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("ACCEL_SAGEMAKER", raising=False)
    if value is not None:
        monkeypatch.setenv("ACCEL_SAGEMAKER", value)
    missing = SageMaker.probe_hardware()
    assert missing is not None
    assert missing.kind == "not-opted-in"
    monkeypatch.setenv("ACCEL_SAGEMAKER", "allow")
    assert SageMaker.probe_hardware() is None
