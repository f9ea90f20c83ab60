"""How SageMaker, S3, CloudWatch and STS answer: the state of an account, and one request after the other.

Names, statuses and texts are the services'. Habits are switched on by ``PUT /habits``, so that a test need not start
another server for each. What a request was signed with is kept, to be looked for where it must not be.

What is created or deleted takes a while, whether or not anybody looks. Meanwhile a deletion is refused: AWS's own
operator for Kubernetes (amazon-sagemaker-operator-for-k8s, ``clientwrapper``) knows "Cannot update in-progress
endpoint" as an answer to DeleteEndpoint. Lists come in pages of ten, and by parts of names, as botocore's model says.
"""

from __future__ import annotations

import calendar
import json
import re
import tarfile
import tempfile
import threading
import time
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
#: For how long an endpoint is being created, and being deleted, in seconds.
_CREATING_S, _DELETING_S = 0.2, 0.4
#: How many things a page of a list has where nobody asks for more.
_PAGE = 10
#: States in which the service refuses to change an endpoint.
_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
#: What CloudWatch tells of a GPU in percent, by the habit.
_GPU: Mapping[str, Mapping[str, float]] = {
    "idle": {"GPUUtilization": 0.0, "GPUMemoryUtilization": 0.0},
    "busy": {"GPUUtilization": 37.0, "GPUMemoryUtilization": 81.5},
    "small": {"GPUUtilization": 0.0, "GPUMemoryUtilization": 81.5},
    "half": {"GPUUtilization": 0.0},
}


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
        self._released = threading.Event()
        self.frozen = ""
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
        with self._lock:
            self._go_on()
        return {
            **{kind: sorted(things) for kind, things in self._things.items()},
            "Object": sorted(self._objects),
            "calls": list(self.calls),
            "frozen": self.frozen,
            "expiries": {name: _expiry(thing) for name, thing in self._things["Endpoint"].items()},
        }

    def behave(self, habits: dict[str, Any]) -> None:
        """Have these habits and no others. What is frozen goes on."""
        self.habits = habits
        self._released.set()
        self._released = threading.Event()

    def pass_time(self, seconds: float) -> None:
        """Let the leases in all tags end so much earlier, as if that time had passed."""
        for things in self._things.values():
            for thing in things.values():
                for tag in thing.get("Tags", ()):
                    if tag["Key"].endswith("-expires"):
                        tag["Value"] = _earlier(tag["Value"], seconds)

    def _freeze(self, operation: str) -> None:
        """Do not answer what has been done already, where the test wants to end the client in this moment."""
        if self.habits.get("freezes") == operation:
            self.frozen, released = operation, self._released
            released.wait(60)
            self.frozen = ""

    # sagemaker-runtime

    def invoke(self, endpoint: str, body: bytes, headers: Message) -> Reply:
        """POST /endpoints/NAME/invocations."""
        self.calls.append("InvokeEndpoint")
        self._freeze("InvokeEndpoint")
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
        config = self._things["EndpointConfig"].get(self._things["Endpoint"][endpoint]["EndpointConfigName"], {})
        return [each["VariantName"] for each in config.get("ProductionVariants", ())]  # gone with the configuration

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
        habit = self.habits.get(operation, "")
        if habit in ERRORS:
            return _json_error(*ERRORS[habit])
        if habit == "quota":
            return _json_error(400, "ResourceLimitExceeded", "The account-level service limit is 0 Instances")
        with self._lock:
            self._go_on()
            reply = self._act(operation, request)
        self._freeze(operation)
        return reply

    def _act(self, operation: str, request: dict[str, Any]) -> Reply:
        if operation.endswith("Tags"):
            return self._tags(operation, request)
        verb = next(verb for verb in ("Describe", "Create", "Delete", "List") if operation.startswith(verb))
        kind = operation.removeprefix(verb).removesuffix("s" if verb == "List" else "")
        act: Callable[[str, str, dict[str, Any]], Reply] = getattr(self, f"_{verb.lower()}")
        return act(kind, request.get(f"{kind}Name", ""), request)

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
        return _json(told)

    def _create(self, kind: str, name: str, request: dict[str, Any]) -> Reply:
        if name in self._things[kind]:
            return _json_error(
                400, "ValidationException", f'Cannot create already existing {kind} "{_arn(kind, name)}".'
            )
        status = {"EndpointStatus": "Creating", "since": time.monotonic()} if kind == "Endpoint" else {}
        self._put(kind, name, {**request, **status})
        return _json({f"{kind}Arn": _arn(kind, name)})

    def _delete(self, kind: str, name: str, _: dict[str, Any]) -> Reply:
        thing = self._things[kind].get(name)
        if thing is None:
            return self._not_found(kind, name)
        if kind == "Endpoint":
            if thing["EndpointStatus"] in _IN_PROGRESS:
                text = f'Cannot update in-progress endpoint "{_arn(kind, name)}".'
                return _json_error(400, "ValidationException", text)
            thing.update(EndpointStatus="Deleting", since=time.monotonic())
            return _json({})
        if kind == "EndpointConfig" and self._serves(name):
            self.calls.append("orphaned an endpoint")  # the service lets it happen
        del self._things[kind][name]
        return _json({})

    def _list(self, kind: str, _: str, request: dict[str, Any]) -> Reply:
        """The newest come first; the token of the next page is where it begins."""
        wanted = request.get("NameContains", "")
        found = [name for name in reversed(self._things[kind]) if wanted in name]
        first = int(request.get("NextToken", 0))
        last = first + request.get("MaxResults", _PAGE)
        page = [self._shown(kind, name) for name in found[first:last]]
        return _json({f"{kind}s": page, **({"NextToken": str(last)} if last < len(found) else {})})

    def _shown(self, kind: str, name: str) -> dict[str, Any]:
        thing = self._things[kind][name]
        status = {"EndpointStatus": thing["EndpointStatus"]} if kind == "Endpoint" else {}
        times = {"CreationTime": thing["CreationTime"], "LastModifiedTime": thing["CreationTime"]}
        return {f"{kind}Name": name, f"{kind}Arn": _arn(kind, name), **times, **status}

    def _tags(self, operation: str, request: dict[str, Any]) -> Reply:
        """ListTags, and AddTags, which adds or overwrites."""
        thing = self._by_arn(request["ResourceArn"])
        if thing is None:
            return _json_error(400, "ValidationException", f"Could not find {request['ResourceArn']}")
        if operation == "AddTags":
            added = {tag["Key"]: tag for tag in [*thing.get("Tags", ()), *request["Tags"]]}
            thing["Tags"] = list(added.values())
        return _json({"Tags": thing.get("Tags", [])})

    def _by_arn(self, arn: str) -> dict[str, Any] | None:
        named = {_arn(kind, name): thing for kind, things in self._things.items() for name, thing in things.items()}
        return named.get(arn)

    def _serves(self, config: str) -> bool:
        """Say whether an endpoint of this configuration is live or being created: not that one is on its way out."""
        endpoints = self._things["Endpoint"].values()
        return any(one["EndpointConfigName"] == config and one["EndpointStatus"] != "Deleting" for one in endpoints)

    def _go_on(self) -> None:
        """Let what is created or deleted be so after its time."""
        for name, endpoint in list(self._things["Endpoint"].items()):
            for_s = time.monotonic() - endpoint.get("since", 0.0)
            if endpoint["EndpointStatus"] == "Deleting" and for_s > _DELETING_S:
                del self._things["Endpoint"][name]
            if endpoint["EndpointStatus"] == "Creating" and for_s > _CREATING_S:
                self._go_into_service(name, endpoint)

    def _go_into_service(self, name: str, endpoint: dict[str, Any]) -> None:
        if self.habits.get("deployment") == "fails":
            endpoint.update(EndpointStatus="Failed", FailureReason="The primary container did not pass the ping check.")
            return
        if self.habits.get("deployment") == "hangs":
            return
        config = self._things["EndpointConfig"].get(endpoint["EndpointConfigName"])
        model = config and self._things["Model"].get(config["ProductionVariants"][0]["ModelName"])
        url = model["PrimaryContainer"]["ModelDataUrl"] if model else ""
        archive = self._objects.get(url.removeprefix("s3://"))
        if archive is None:
            endpoint.update(EndpointStatus="Failed", FailureReason="The configuration, the model or its file is gone.")
            return
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

    # cloudwatch

    def statistics(self, request: dict[str, Any]) -> Reply:
        """POST / with ``X-Amz-Target: GraniteServiceVersion20100801.GetMetricStatistics``.

        A metric that is spelled otherwise has no values and is no error. The habit ``gpu`` is "idle", "busy",
        "small" for calls that no sample has met, or "half" where half of it has arrived; without it nothing has.
        """
        self.calls.append("GetMetricStatistics")
        if (habit := self.habits.get("GetMetricStatistics", "")) in ERRORS:
            return _json_error(*ERRORS[habit])
        dimensions = {each["Name"]: each["Value"] for each in request["Dimensions"]}
        endpoint, variant = dimensions.get("EndpointName", ""), dimensions.get("VariantName", "")
        known = request["Namespace"] == "/aws/sagemaker/Endpoints" and endpoint in self._things["Endpoint"]
        percent = _GPU.get(self.habits.get("gpu", ""), {}).get(request["MetricName"])
        if not known or variant not in self._variants(endpoint) or percent is None:
            return _json({"Label": request["MetricName"], "Datapoints": []})
        minutes = range(int(request["StartTime"]) // 60, int(request["EndTime"]) // 60 + 1)
        points = [{"Timestamp": 60.0 * minute, "Maximum": percent, "Unit": "Percent"} for minute in minutes]
        return _json({"Label": request["MetricName"], "Datapoints": points})

    # sts

    @staticmethod
    def assume_role() -> Reply:
        """POST / of a form. Nobody's session is valid any more."""
        text = "The security token included in the request is expired"
        error = f"<Type>Sender</Type><Code>ExpiredToken</Code><Message>{text}</Message>"
        body = (
            f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>{error}</Error></ErrorResponse>'
        )
        return Reply(403, body.encode(), {"Content-Type": "text/xml"})

    # s3

    def object(self, method: str, path: str, body: bytes) -> Reply:
        """PUT and DELETE /BUCKET/KEY."""
        operation = {"PUT": "PutObject", "DELETE": "DeleteObject"}[method]
        self.calls.append(operation)
        if self.habits.get("PutObject") == "no-bucket" and method == "PUT":
            text = "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>"
            return Reply(404, text.encode(), {"Content-Type": "application/xml"})
        if method == "PUT":
            self._objects[path] = body
            self._freeze(operation)
            return Reply(200, headers={"ETag": f'"{uuid.uuid4().hex}"'})
        self._objects.pop(path, None)
        self._freeze(operation)
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


def _expiry(thing: dict[str, Any]) -> str:
    """Until when the lease of a thing lasts; empty where it has none."""
    return next((tag["Value"] for tag in thing.get("Tags", ()) if tag["Key"].endswith("-expires")), "")


def _earlier(stamp: str, seconds: float) -> str:
    moment = calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")) - seconds
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
