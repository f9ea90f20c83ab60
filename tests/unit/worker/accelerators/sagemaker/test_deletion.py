"""What is asked of AWS to delete a deployment, one attempt at a time; the process around it is seen in the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pytest_accel.worker.accelerators.sagemaker.deletion import BEING_DELETED, delete

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


def test_an_endpoint_that_was_there_is_waited_for_before_anything_else_goes(services: dict[str, Any]) -> None:
    services["sagemaker"].add_response("delete_endpoint", {}, {"EndpointName": "pytest-accel-1"})
    assert delete(TOLD) == BEING_DELETED


def test_what_is_still_being_created_is_no_problem_yet(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", *IN_PROGRESS)
    assert delete(TOLD) == BEING_DELETED


def test_once_the_endpoint_is_gone_the_rest_goes_whether_or_not_it_was_ever_made(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", *GONE)
    refuses(services["sagemaker"], "delete_endpoint_config", "ValidationException", "Could not find endpoint config")
    services["sagemaker"].add_response("delete_model", {}, {"ModelName": "pytest-accel-1"})
    services["s3"].add_response("delete_object", {}, {"Bucket": "models", "Key": "ci/model.tar.gz"})
    assert delete(TOLD) == ""


def test_a_problem_is_told_by_its_code_alone(services: dict[str, Any]) -> None:
    refuses(services["sagemaker"], "delete_endpoint", "AccessDeniedException", "x-amz-security-token:secret")
    assert delete(TOLD) == "AccessDeniedException on DeleteEndpoint"


def test_a_way_that_is_blocked_is_a_problem_too(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import NoCredentialsError

    def unsigned(*_: object, **__: object) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(boto3, "client", unsigned)
    assert delete(TOLD) == "NoCredentialsError"
