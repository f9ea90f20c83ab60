"""What AWS's errors mean, what to do about them, and how credentials are kept out of the text.

Some services quote the request that they refuse, including the session token. So everything that boto3 signs with is
removed from a text before it is shown. botocore's exception is not kept as a cause, because the traceback would show
the text again.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Sequence

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.redaction import HIDDEN, redacted

_CREDENTIALS = "give boto3 valid credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
_NETWORK = "check the region, and whether this machine's network (VPC, proxy) reaches the service"
_BROKEN = "look at the endpoint's logs in CloudWatch: a container that ends drops its calls"

#: _OF_SERVICE has advice for each error code of the service.
_OF_SERVICE: Mapping[str, str] = {
    "AccessDenied": "let the role that calls do this operation",
    "AccessDeniedException": "let the role that calls do this operation",
    "ExpiredToken": "the session has expired: renew it, for example with `aws sso login`",
    "ExpiredTokenException": "the session has expired: renew it, for example with `aws sso login`",
    "InvalidSignatureException": _CREDENTIALS + ", and check this machine's clock",
    "UnrecognizedClientException": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "ThrottlingException": "calls come faster than the account's quota allows: lower the rate or raise the quota",
    "ServiceUnavailable": "no instance took the call: look at the instances' load, or add instances",
    "ModelNotReadyException": "the model is still being loaded: wait, and see that the instance has memory for it",
    "InternalFailure": "the service failed: try again, and see AWS's health dashboard",
    "InternalDependencyException": "a service behind SageMaker failed: try again, and see AWS's health dashboard",
    "ResourceLimitExceeded": "the account's quota does not allow it: ask AWS for more, or choose another instance_type",
    "NoSuchBucket": "name a bucket that is there in ACCEL_SAGEMAKER_S3",
    "ValidationError": "check the endpoint's name, region and what it is sent",
    "ValidationException": "check the names, and that the instance type is one of SageMaker's",
}
#: _OF_CLIENT has advice for the names of botocore's exceptions.
_OF_CLIENT: Mapping[str, str] = {
    "NoCredentialsError": _CREDENTIALS,
    "PartialCredentialsError": _CREDENTIALS,
    "CredentialRetrievalError": _CREDENTIALS,
    "TokenRetrievalError": "renew the session, for example with `aws sso login`",
    "UnauthorizedSSOTokenError": "renew the session, for example with `aws sso login`",
    "NoRegionError": "name the region in AWS_DEFAULT_REGION",
    "EndpointConnectionError": _NETWORK,
    "ConnectTimeoutError": _NETWORK,
    "ProxyConnectionError": _NETWORK,
    "SSLError": _NETWORK,
    "ReadTimeoutError": "a container has 60 s for a call: look at its logs, or raise read_timeout_s",
    "ConnectionClosedError": _BROKEN,
    "ResponseStreamingError": _BROKEN,
    "IncompleteReadError": _BROKEN,
    "HTTPClientError": _BROKEN,
}
#: _REFUSALS names the errors that the caller can do something about. Any other is a failure of the service or of the
#: network.
_REFUSALS = frozenset(
    {"ValidationError", "ValidationException", "ResourceLimitExceeded", "NoSuchBucket", "ParamValidationError"}
)
#: _OF_CONTAINER has advice for the status of a container's answer.
_OF_CONTAINER: Mapping[int, str] = {
    400: "the container does not take these inputs: is it the same model, with this signature?",
    404: "the container has no such model: check model_name and signature",
    413: "the container takes no body of this size: ask for a smaller batch_size",
    415: "the container does not take this content type: ask for payload='instances'",
}


#: _SIGNED finds the parts of a text that sign a request; a service may quote them.
_SIGNED = re.compile(r"(?i)\b(?:credential|signature)\s*[=:]\s*[^\s,&<]+")


class EndpointFailed(RuntimeError):
    """A call had no answer, or no valid one. The message has advice and the service's words.

    ``words`` and ``advice`` are the two apart; each is empty where nobody knows.
    """

    def __init__(self, message: str, words: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.words = words
        self.advice = advice


def without_credentials(text: str, secrets: Sequence[str]) -> str:
    """``text`` without ``secrets`` and without anything that looks like a part of a signed request."""
    return _SIGNED.sub(HIDDEN, redacted(text, secrets))


@contextmanager
def explained(doing: str, secrets: Sequence[str]) -> Iterator[None]:
    """Turn boto3's errors into `Refused` (what was asked for cannot be) or `EndpointFailed`, with advice."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _of_service(doing, error.response, str(error), secrets) from None
    except BotoCoreError as error:
        kind = next((base.__name__ for base in type(error).__mro__ if base.__name__ in _OF_CLIENT), "")
        advice = _OF_CLIENT.get(kind, "")
        raise _failure(doing, type(error).__name__, advice, str(error), secrets) from None


def _of_service(doing: str, response: Mapping[str, Any], words: str, secrets: Sequence[str]) -> Exception:
    code = str(response.get("Error", {}).get("Code", ""))
    if code != "ModelError":
        return _failure(doing, code, _OF_SERVICE.get(code, ""), words, secrets)
    status = int(response.get("OriginalStatusCode", 500))
    words = f"{response.get('OriginalMessage', words)}, status {status}"
    advice = _OF_CONTAINER.get(status, _BROKEN)
    message = _sentence(f"{doing}: the container refused" if status < 500 else f"{doing}: the container failed", advice)
    kind = Refused if status < 500 else EndpointFailed
    return kind(without_credentials(f"{message} ({words})", secrets))


def _failure(doing: str, code: str, advice: str, words: str, secrets: Sequence[str]) -> Exception:
    words = without_credentials(words, secrets)
    message = f"{_sentence(doing, advice)} ({words})"
    return Refused(message) if code in _REFUSALS else EndpointFailed(message, words, advice)


def _sentence(failed: str, advice: str) -> str:
    return f"{failed}: {advice}" if advice else f"{failed} failed"
