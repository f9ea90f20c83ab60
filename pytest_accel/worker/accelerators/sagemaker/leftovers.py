"""What runs have left in the account and nobody lives to delete, found through the service itself.

A container dies with its files, so that no journal tells what it had deployed. The tags of what was deployed do: whose
it is, and until when the lease lasts that a living run renews. Nothing else is ever touched.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Sequence, Tuple

from pytest_accel.worker.accelerators.sagemaker import deletion

if TYPE_CHECKING:
    from pytest_accel.worker.accelerators.sagemaker.endpoint import Account

#: PREFIX begins the name of everything that is deployed for a test.
PREFIX = "pytest-accel-"
#: _LISTED maps an operation that lists things to their kind.
_LISTED = {"list_endpoints": "Endpoint", "list_endpoint_configs": "EndpointConfig", "list_models": "Model"}


def delete_expired(account: Account) -> List[str]:
    """Delete what has a lease that is over. Returns what became of it, a sentence each.

    Raises `EndpointFailed` or `Refused` where the account cannot be looked through.
    """
    sagemaker = account.patient("sagemaker")
    with account.explained("looking for what earlier runs have left"):
        expired = [name for name, arns in _deployed(sagemaker).items() if _is_over(sagemaker, arns)]
        files = {name: _file(sagemaker, name) for name in expired}
    return [_deleted(str(account.region), name, *files[name]) for name in expired]


def _deployed(sagemaker: Any) -> Dict[str, List[str]]:
    """Return the ARNs of endpoints, configurations and models with such names, by name."""
    found: Dict[str, List[str]] = {}
    for operation, kind in _LISTED.items():
        for page in sagemaker.get_paginator(operation).paginate(NameContains=PREFIX):
            for summary in page[f"{kind}s"]:
                found.setdefault(summary[f"{kind}Name"], []).append(summary[f"{kind}Arn"])
    return {name: arns for name, arns in found.items() if name.startswith(PREFIX)}


def _is_over(sagemaker: Any, arns: Sequence[str]) -> bool:
    """Return whether all of these things are pytest-accel's and have a lease that is over."""
    tags = list(_tags(sagemaker, arns))
    return bool(tags) and all(_has_expired(each) for each in tags)


def _has_expired(tags: Mapping[str, str]) -> bool:
    if tags.get(deletion.CREATED_BY["Key"]) != deletion.CREATED_BY["Value"]:
        return False
    try:
        expiry = time.strptime(tags.get(deletion.EXPIRES, ""), deletion.EXPIRY_FORMAT)
    except ValueError:  # nobody knows until when it is used
        return False
    return tuple(expiry) < tuple(time.gmtime())


def _tags(sagemaker: Any, arns: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Yield the tags of each thing; of one that has gone meanwhile, none."""
    from botocore.exceptions import ClientError

    for arn in arns:
        try:
            pages = list(sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in ("ValidationException", "ResourceNotFound"):
                raise
            continue
        yield {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def _file(sagemaker: Any, name: str) -> Tuple[str, str]:
    """Return bucket and key of the file of a model; both are empty where it does not tell."""
    from botocore.exceptions import ClientError

    try:
        url = sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"]
    except (ClientError, KeyError):
        return "", ""
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key


def _deleted(region: str, name: str, bucket: str, key: str) -> str:
    problem = deletion.delete({"name": name, "region": region, "bucket": bucket, "key": key})
    if problem:
        return describe_left(name, problem)
    return f"endpoint {name}, which an earlier run had left, is deleted"


def describe_left(name: str, problem: str) -> str:
    """Say that an endpoint is still there and what to do about it."""
    return (
        f"endpoint {name} is billed and could not be deleted ({problem}): delete it with `aws sagemaker "
        f"delete-endpoint --endpoint-name {name}`"
    )
