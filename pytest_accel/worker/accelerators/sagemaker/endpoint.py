"""A SageMaker endpoint as boto3 sees it: what runs behind the name, and one call after the other.

A call is made once. boto3's retries would turn a failure into a slow success, so they are off. An answer that was
retried all the same is an error. `body` makes and reads the bodies, and `errors` says what an error means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from pytest_accel.worker.accelerator import FarSide, Refused
from pytest_accel.worker.accelerators.sagemaker.errors import EndpointFailed, explained
from pytest_accel.worker.redaction import keep_secret

#: _CONNECT_TIMEOUT_S is the number of seconds within which a connection has to be made.
_CONNECT_TIMEOUT_S = 5.0


class Account:
    """boto3's session with the region and credentials of the environment. It makes clients that retry, or do not.

    Raises `EndpointFailed` where the credentials have expired and cannot be renewed: boto3 asks for new ones over the
    network.
    """

    def __init__(self) -> None:
        import boto3

        #: These credentials must not appear in any text.
        self.secrets: Tuple[str, ...] = ()
        with self.explained("reading the credentials"):
            self._session = boto3.Session()
            found = self._session.get_credentials()
            frozen = found and found.get_frozen_credentials()
        self.region: Optional[str] = self._session.region_name
        self.has_credentials = frozen is not None
        if frozen is not None:
            self.secrets = tuple(filter(None, (frozen.access_key, frozen.secret_key, frozen.token)))
            keep_secret(self.secrets)

    def patient(self, service: str) -> Any:
        """Return a client with boto3's standard retries, for calls that are not timed."""
        return self._client(service, retries={"mode": "standard"}, connect_timeout=_CONNECT_TIMEOUT_S)

    def timed(self, read_timeout_s: float, connections: int) -> Any:
        """Return a client for timed calls. It tries a call once, and has up to ``connections`` open connections."""
        return self._client(
            "sagemaker-runtime",
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=read_timeout_s,
            max_pool_connections=connections,
        )

    def explained(self, doing: str) -> Any:
        """Return a context that turns boto3's errors into errors with advice and without credentials."""
        return explained(doing, self.secrets)

    def _client(self, service: str, **config: Any) -> Any:
        from botocore.config import Config

        with self.explained(f"opening a client for {service}"):
            return self._session.client(service, config=Config(**config))


@dataclass(frozen=True)
class Behind:
    """What serves behind an endpoint's name. ``versions`` change with every deployment."""

    endpoint: str
    variant: str
    instance_type: str
    accelerator_type: Optional[str]
    instances: int
    versions: Mapping[str, str]

    def far_side(self, region: Optional[str]) -> FarSide:
        """Return the facts as the contract of accelerators defines them."""
        return FarSide(
            dict(self.versions), identity(region, self.instance_type, self.accelerator_type, instances=self.instances)
        )


def identity(
    region: Optional[str], instance_type: str, accelerator_type: Optional[str], *, instances: int
) -> Dict[str, Union[str, int, float, bool, None]]:
    """Return the facts that distinguish one kind of hosting from another."""
    with_accelerator = f" with {accelerator_type}" if accelerator_type else ""
    return {
        "device": f"SageMaker {instance_type}{with_accelerator}",
        "instance_type": instance_type,
        "accelerator_type": accelerator_type,
        "instances": instances,
        "region": region,
    }


def look_behind(account: Account, endpoint: str, variant: Optional[str]) -> Behind:
    """Return what serves behind an endpoint's name.

    Raises `Refused` unless the endpoint is in service, and ``variant`` chooses one of several production variants.
    """
    client = account.patient("sagemaker")
    with account.explained(f"describing endpoint {endpoint!r}"):
        found = client.describe_endpoint(EndpointName=endpoint)
        config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
    if found["EndpointStatus"] != "InService":
        why = f": {found['FailureReason']}" if found.get("FailureReason") else ""
        raise Refused(f"endpoint {endpoint!r} is {found['EndpointStatus']}{why}; wait until it is InService")
    summaries = {summary["VariantName"]: summary for summary in found.get("ProductionVariants", ())}
    if variant is None and len(summaries) == 1:
        (variant,) = summaries
    if variant not in summaries:
        raise Refused(
            f"endpoint {endpoint!r} has the production variants {sorted(summaries)}: say which one is measured, "
            f"production_variant={next(iter(sorted(summaries)), '...')!r}"
        )
    production = next(shown for shown in config["ProductionVariants"] if shown["VariantName"] == variant)
    return Behind(
        endpoint=endpoint,
        variant=str(variant),
        instance_type=_instance_type(production),
        accelerator_type=production.get("AcceleratorType"),
        instances=int(summaries[variant].get("CurrentInstanceCount", 0)),
        versions={
            "endpoint-config": str(found["EndpointConfigName"]),
            "endpoint-config-created": _time(config["CreationTime"]),
            "endpoint-created": _time(found["CreationTime"]),
            "serving-image": ", ".join(_images(summaries[variant])) or "unknown",
        },
    )


def _instance_type(production: Mapping[str, Any]) -> str:
    if "ServerlessConfig" in production:
        return f"serverless {production['ServerlessConfig']['MemorySizeInMB']} MB"
    return str(production.get("InstanceType", "unknown"))


def _images(summary: Mapping[str, Any]) -> List[str]:
    """Return the images, with digests where they are known, because a tag can be moved to another image."""
    return [
        str(image.get("ResolvedImage") or image.get("SpecifiedImage")) for image in summary.get("DeployedImages", ())
    ]


def _time(stamp: Any) -> str:
    return str(stamp.isoformat() if hasattr(stamp, "isoformat") else stamp)


class Calls:
    """Calls to one production variant of an endpoint; several threads may make them side by side."""

    def __init__(self, account: Account, behind: Behind, client: Any, content_type: str, attributes: str) -> None:
        self._account = account
        self._behind = behind
        self._invoke = client.invoke_endpoint
        self._request = {
            "EndpointName": behind.endpoint,
            "TargetVariant": behind.variant,
            "ContentType": content_type,
            "Accept": content_type,
            **({"CustomAttributes": attributes} if attributes else {}),
        }

    def __call__(self, body: bytes) -> Tuple[bytes, str]:
        """Make one call. Returns the body of the answer, read to the end, and the content type."""
        with self._account.explained(f"calling endpoint {self._behind.endpoint!r}"):
            answer = self._invoke(Body=body, **self._request)
            content = answer["Body"].read()
        retries = answer["ResponseMetadata"].get("RetryAttempts", 0)
        if retries:
            raise EndpointFailed(
                f"endpoint {self._behind.endpoint!r} answered after {retries} retries, so the call's time is not its "
                "own: leave retries to the caller (AWS_MAX_ATTEMPTS=1)"
            )
        served_by = answer.get("InvokedProductionVariant", self._behind.variant)
        if served_by != self._behind.variant:
            raise EndpointFailed(
                f"production variant {served_by!r} answered for {self._behind.variant!r}: what was measured is not "
                f"what endpoint {self._behind.endpoint!r} was asked for"
            )
        return content, str(answer.get("ContentType", ""))
