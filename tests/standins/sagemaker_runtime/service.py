"""How SageMaker and S3 answer: the state of an account, and one request after the other.

Names, statuses and texts are the services'. Habits are switched on by ``POST /habits``, so that a test need not start
another server for each. What a request was signed with is kept, to be looked for where it must not be.
"""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from tests.standins.sagemaker_runtime.container import Container

ACCOUNT = "123456789012"
REGION = "eu-west-1"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/tensorflow-inference:2.19-cpu"
#: Seconds since the epoch, as the JSON protocol has them; a new one for each thing that is created.
_FIRST_DAY = 1_790_000_000.0


@dataclass(frozen=True)
class Reply:
    """``broken`` cuts the connection in the middle of the body; ``delay_s`` passes before the first byte."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    delay_s: float = 0.0


#: Errors by the habit that gives them: status, code, message.
ERRORS: Mapping[str, tuple[int, str, str]] = {
    "throttled": (400, "ThrottlingException", "Rate exceeded"),
    "unavailable": (503, "ServiceUnavailable", "Service Unavailable"),
    "internal": (500, "InternalFailure", "InternalFailure"),
    "dependency": (530, "InternalDependencyException", "Internal dependency failure"),
    "not-ready": (429, "ModelNotReadyException", "Model is not ready for inference."),
    "denied": (
        403,
        "AccessDeniedException",
        f"User: arn:aws:iam::{ACCOUNT}:user/ci is not authorized to perform: sagemaker:InvokeEndpoint",
    ),
    "expired": (403, "ExpiredTokenException", "The security token included in the request is expired"),
}


class Service:
    """One account in one region."""

    def __init__(self) -> None:
        self.habits: dict[str, Any] = {}
        self.calls: list[str] = []
        self._containers: dict[str, Container] = {}
        self._lock = threading.Lock()
        self._created = 0
        self._objects: dict[str, bytes] = {}
        self._things: dict[str, dict[str, dict[str, Any]]] = {"Model": {}, "EndpointConfig": {}, "Endpoint": {}}

    def add_endpoint(self, name: str, saved_model: Path, instance_type: str, variants: tuple[str, ...]) -> None:
        """An endpoint that was there before; it takes npy."""
        config = f"{name}-config"
        production = [{"VariantName": each, "ModelName": name, "InstanceType": instance_type} for each in variants]
        self._put("EndpointConfig", config, {"ProductionVariants": production})
        self._put("Endpoint", name, {"EndpointConfigName": config, "EndpointStatus": "InService"})
        self._containers[name] = Container(saved_model, takes_npy=True)

    def state(self) -> dict[str, Any]:
        """What exists and which operations were called, for a test to look at."""
        return {
            **{kind: sorted(things) for kind, things in self._things.items()},
            "Object": sorted(self._objects),
            "calls": list(self.calls),
        }

    # sagemaker-runtime

    def invoke(self, endpoint: str, body: bytes, headers: Message) -> Reply:
        """POST /endpoints/NAME/invocations."""
        self.calls.append("InvokeEndpoint")
        habit = self.habits.get("invoke", "")
        if habit in ERRORS:
            return _runtime_error(*ERRORS[habit])
        if habit == "quotes":  # some services tell what they could not verify
            quoted = f"canonical request: x-amz-security-token:{headers.get('X-Amz-Security-Token')} "
            quoted += headers.get("Authorization", "")
            return _runtime_error(403, "InvalidSignatureException", f"The signature does not match; {quoted}")
        if endpoint not in self._containers:
            text = f"Endpoint {endpoint} of account {ACCOUNT} not found."
            return _runtime_error(400, "ValidationError", text)
        answer = self._containers[endpoint].invocations(
            body,
            headers.get("Content-Type", ""),
            headers.get("Accept", ""),
            headers.get("X-Amzn-SageMaker-Custom-Attributes", ""),
        )
        if habit == "container-failed":
            answer = type(answer)(500, b'{"error": "out of memory"}')
        if answer.status != 200:
            return self._model_error(endpoint, answer.status, answer.body.decode())
        variant = habit.partition("=")[2] if habit.startswith("other-variant") else self._variants(endpoint)[0]
        return Reply(
            200,
            b"[]" if habit == "nonsense" else _without_numbers(answer.body) if habit == "nan" else answer.body,
            {
                "Content-Type": answer.content_type,
                "x-Amzn-Invoked-Production-Variant": headers.get("X-Amzn-SageMaker-Target-Variant", variant)
                if not habit.startswith("other-variant")
                else variant,
            },
            broken=habit == "breaks",
            delay_s=float(habit.partition("=")[2]) if habit.startswith("slow=") else 0.0,
        )

    def _variants(self, endpoint: str) -> list[str]:
        config = self._things["EndpointConfig"][self._things["Endpoint"][endpoint]["EndpointConfigName"]]
        return [each["VariantName"] for each in config["ProductionVariants"]]

    def _model_error(self, endpoint: str, status: int, message: str) -> Reply:
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        text = (
            f'Received client error ({status}) from primary with message "{message}". See '
            f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}#logEventViewer:group={group} in "
            f"account {ACCOUNT} for more information."
        )
        log = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
        told = {"OriginalStatusCode": status, "OriginalMessage": message, "LogStreamArn": log}
        return _runtime_error(424, "ModelError", text, **told)

    # sagemaker

    def perform(self, operation: str, request: dict[str, Any]) -> Reply:
        """POST / with ``X-Amz-Target: SageMaker.OPERATION``."""
        self.calls.append(operation)
        verb = next(verb for verb in ("Describe", "Create", "Delete") if operation.startswith(verb))
        kind = operation.removeprefix(verb)
        habit = self.habits.get(operation, "")
        if habit in ERRORS:
            return _json_error(*ERRORS[habit])
        if habit == "quota":
            return _json_error(400, "ResourceLimitExceeded", "The account-level service limit is 0 Instances")
        with self._lock:
            act: Callable[[str, str, dict[str, Any]], Reply] = getattr(self, f"_{verb.lower()}")
            return act(kind, request[f"{kind}Name"], request)

    def _describe(self, kind: str, name: str, _: dict[str, Any]) -> Reply:
        thing = self._things[kind].get(name)
        if thing is None:
            return self._not_found(kind, name)
        told = {**thing, f"{kind}Name": name, f"{kind}Arn": _arn(kind, name)}
        if kind == "Endpoint":
            told["CreationTime"] += 3600.0 * (self.habits.get("deployment") == "anew")
            if self.habits.get("deployment") == "updating":
                told["EndpointStatus"] = "Updating"
            told["LastModifiedTime"] = told["CreationTime"]
            told["ProductionVariants"] = [_summary(each) for each in self._variants(name)]
            if thing["EndpointStatus"] == "Creating":
                self._go_into_service(name, thing)
        return _json(told)

    def _create(self, kind: str, name: str, request: dict[str, Any]) -> Reply:
        if name in self._things[kind]:
            return _json_error(
                400, "ValidationException", f'Cannot create already existing {kind} "{_arn(kind, name)}".'
            )
        status = {"EndpointStatus": "Creating"} if kind == "Endpoint" else {}
        self._put(kind, name, {**request, **status})
        return _json({f"{kind}Arn": _arn(kind, name)})

    def _delete(self, kind: str, name: str, _: dict[str, Any]) -> Reply:
        thing = self._things[kind].get(name)
        if thing is None:
            return self._not_found(kind, name)
        if kind == "Endpoint" and thing["EndpointStatus"] != "Deleting":
            thing["EndpointStatus"] = "Deleting"
            return _json({})
        if kind == "EndpointConfig" and self._serves(name):
            self.calls.append("orphaned an endpoint")  # the service lets it happen
        del self._things[kind][name]
        if kind == "Endpoint":
            return _json_error(400, "ValidationException", f'Cannot update in-progress endpoint "{_arn(kind, name)}".')
        return _json({})

    def _serves(self, config: str) -> bool:
        return any(endpoint["EndpointConfigName"] == config for endpoint in self._things["Endpoint"].values())

    def _go_into_service(self, name: str, endpoint: dict[str, Any]) -> None:
        if self.habits.get("deployment") == "fails":
            endpoint.update(EndpointStatus="Failed", FailureReason="The primary container did not pass the ping check.")
            return
        if self.habits.get("deployment") == "hangs":
            return
        config = self._things["EndpointConfig"][endpoint["EndpointConfigName"]]
        model = self._things["Model"][config["ProductionVariants"][0]["ModelName"]]
        archive = self._objects[model["PrimaryContainer"]["ModelDataUrl"].removeprefix("s3://")]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.tar.gz").write_bytes(archive)
            with tarfile.open(Path(folder) / "model.tar.gz") as members:
                members.extractall(folder, filter="data")
            self._containers[name] = Container(Path(folder) / "model" / "1")
        endpoint["EndpointStatus"] = "InService"

    def _not_found(self, kind: str, name: str) -> Reply:
        words = {"EndpointConfig": "endpoint configuration"}.get(kind, kind.lower())
        return _json_error(400, "ValidationException", f'Could not find {words} "{_arn(kind, name)}".')

    def _put(self, kind: str, name: str, thing: dict[str, Any]) -> None:
        self._created += 1
        self._things[kind][name] = {**thing, "CreationTime": _FIRST_DAY + 86400 * self._created}

    # s3

    def object(self, method: str, path: str, body: bytes) -> Reply:
        """PUT and DELETE /BUCKET/KEY."""
        self.calls.append({"PUT": "PutObject", "DELETE": "DeleteObject"}[method])
        if self.habits.get("PutObject") == "no-bucket" and method == "PUT":
            text = "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>"
            return Reply(404, text.encode(), {"Content-Type": "application/xml"})
        if method == "PUT":
            self._objects[path] = body
            return Reply(200, headers={"ETag": f'"{uuid.uuid4().hex}"'})
        self._objects.pop(path, None)
        return Reply(204)


def _summary(variant: str) -> dict[str, Any]:
    images = [{"SpecifiedImage": IMAGE, "ResolvedImage": f"{IMAGE.partition(':')[0]}@sha256:0123abcd"}]
    return {"VariantName": variant, "CurrentInstanceCount": 1, "DesiredInstanceCount": 1, "DeployedImages": images}


def _arn(kind: str, name: str) -> str:
    words = {"EndpointConfig": "endpoint-config"}.get(kind, kind.lower())
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{words}/{name}"


def _json(told: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(told).encode(), {"Content-Type": "application/x-amz-json-1.1"})


def _json_error(status: int, code: str, message: str) -> Reply:
    body = json.dumps({"__type": code, "message": message}).encode()
    return Reply(status, body, {"Content-Type": "application/x-amz-json-1.1"})


def _without_numbers(body: bytes) -> bytes:
    """An answer in which the first number is NaN, as TensorFlow Serving writes it: JSON has no such thing."""
    return re.sub(rb"-?\d[\d.e+-]*", b"NaN", body, count=1)


def _runtime_error(status: int, code: str, message: str, **more: Any) -> Reply:
    body = json.dumps({"Message": message, **more}).encode()
    headers = {"Content-Type": "application/json", "x-amzn-ErrorType": f"{code}:http://internal.amazon.com/coral/"}
    return Reply(status, body, headers)
