"""What is asked of AWS to delete a deployment, one attempt at a time; the process around it is seen in the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pytest_accel.worker.accelerators.sagemaker.deletion import IN_PROGRESS as UNDER_WAY
from pytest_accel.worker.accelerators.sagemaker.deletion import delete, lease

boto3 = pytest.importorskip("boto3")

TOLD = {"name": "pytest-accel-1", "region": "eu-west-1", "bucket": "models", "key": "ci/model.tar.gz"}
GONE = ("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:eu-west-1:1:endpoint/pytest-accel-1".')
IN_PROGRESS = ("ValidationException", 'Cannot update in-progress endpoint "arn".')


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A stub for each service, which has to be asked for all that it was told to answer, and for nothing else."""
    from botocore.stub import Stubber

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobodys")
    clients = {name: boto3.client(name, region_name="eu-west-1") for name in ("sagemaker", "s3")}
    monkeypatch.setattr(boto3, "client", lambda name, **_: clients[name])
    stubs = {name: Stubber(client) for name, client in clients.items()}
    with ExitStack() as stack:
        for stub in stubs.values():
            stack.enter_context(stub)
        yield stubs
        for stub in stubs.values():
            stub.assert_no_pending_responses()


def refuses(service: Any, operation: str, code: str, message: str) -> None:
    service.add_client_error(operation, code, message)


def rest_goes(services: dict[str, Any]) -> None:
    """Configuration, file and model go too."""
    services["sagemaker"].add_response("delete_endpoint_config", {}, {"EndpointConfigName": "pytest-accel-1"})
    services["s3"].add_response("delete_object", {}, {"Bucket": "models", "Key": "ci/model.tar.gz"})
    services["sagemaker"].add_response("delete_model", {}, {"ModelName": "pytest-accel-1"})


def describes(service: Any, status: str) -> None:
    told = {"EndpointName": "pytest-accel-1", "EndpointArn": "arn:aws:sagemaker:eu-west-1:1:endpoint/pytest-accel-1"}
    times = {"CreationTime": 0, "LastModifiedTime": 0}
    service.add_response("describe_endpoint", {**told, **times, "EndpointStatus": status})


def test_once_the_deletion_of_an_endpoint_is_accepted_the_rest_goes_too(services: dict[str, Any]) -> None:
    services["sagemaker"].add_response("delete_endpoint", {}, {"EndpointName": "pytest-accel-1"})
    rest_goes(services)
    assert delete(TOLD) == ""


def test_the_rest_stays_as_long_as_the_endpoint_is_created_and_cannot_be_deleted(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", *IN_PROGRESS)
    describes(services["sagemaker"], "Creating")
    assert delete(TOLD) == UNDER_WAY


def test_an_endpoint_that_is_being_deleted_already_holds_nothing_back(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", *IN_PROGRESS)
    describes(services["sagemaker"], "Deleting")
    rest_goes(services)
    assert delete(TOLD) == ""


def test_what_was_never_made_or_is_gone_is_no_problem(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", *GONE)
    refuses(services["sagemaker"], "delete_endpoint_config", "ValidationException", "Could not find endpoint config")
    services["s3"].add_response("delete_object", {}, {"Bucket": "models", "Key": "ci/model.tar.gz"})
    refuses(services["sagemaker"], "delete_model", "ValidationException", "Could not find model")
    assert delete(TOLD) == ""


def test_a_file_that_nobody_knows_is_not_deleted(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", *GONE)
    services["sagemaker"].add_response("delete_endpoint_config", {})
    services["sagemaker"].add_response("delete_model", {})
    assert delete({**TOLD, "bucket": ""}) == ""


def test_a_problem_is_told_by_its_code_alone(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", "AccessDeniedException", "x-amz-security-token:secret")
    assert delete(TOLD) == "AccessDeniedException on DeleteEndpoint"


def test_a_way_that_is_blocked_is_a_problem_too(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import NoCredentialsError

    def unsigned(*_: object, **__: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(boto3, "client", unsigned)
    assert delete(TOLD) == "NoCredentialsError"


def test_tags_are_what_the_service_takes() -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    assert [{*tag} for tag in lease()] == [{"Key", "Value"}] * 2
    for tag in lease():
        for name, text in tag.items():
            limits = model.shape_for(f"Tag{name}").metadata
            assert limits["min"] <= len(text) <= limits["max"]
            assert re.fullmatch(r"[\w .:/=+\-@]*", text), "what the pattern of botocore's model means in Python"
