"""The loopback server in a process of its own, and the environment that leads boto3 to it and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
#: Nobody's; in no record, log or failure may any of them be found.
ACCESS_KEY, SECRET_KEY, TOKEN = "AKIATHISISNOBODYSKEY", "nobodys/secret+key", "nobodys-session-token=="
REGION = "eu-west-1"
SERVICES = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "S3", "CLOUDWATCH", "STS")


class Loopback:
    """The server as a test sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def environment(self, state_home: Path) -> dict[str, str]:
        """boto3's own variables, and ours. Neither a metadata service nor a file of the user's is asked."""
        return {
            **{f"AWS_ENDPOINT_URL_{service}": self.url for service in SERVICES},
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "XDG_STATE_HOME": str(state_home),
            "ACCEL_SAGEMAKER": "allow",
            "ACCEL_SAGEMAKER_ROLE": "arn:aws:iam::123456789012:role/serving",
            "ACCEL_SAGEMAKER_IMAGE": "tensorflow-inference:2.19-cpu",
            "ACCEL_SAGEMAKER_IMAGE_GPU": "tensorflow-inference:2.19-gpu",
            "ACCEL_SAGEMAKER_S3": "s3://models/ci",
        }

    def behave(self, **habits: str) -> None:
        """Have these habits and no others; see `service`."""
        self._ask("/habits", "PUT", json.dumps(habits).encode())

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass for the leases of what is deployed."""
        self._ask("/time", "PUT", json.dumps(seconds).encode())

    def state(self) -> dict[str, Any]:
        """What exists in the account, and every operation that was called."""
        told: dict[str, Any] = json.loads(self._ask("/state", "GET"))
        return told

    def _ask(self, path: str, method: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, data=body, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as reply:
            answer: bytes = reply.read()
        return answer


@contextmanager
def running(models: Mapping[str, Path]) -> Iterator[Loopback]:
    """A server with these endpoints, each of one SavedModel."""
    command = [sys.executable, "-m", "tests.standins.sagemaker_runtime.server"]
    arguments = [f"{name}={model}" for name, model in models.items()]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *arguments], cwd=ROOT, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin:
            url = process.stdout.readline().strip()
            assert url, "the server did not start"
            yield Loopback(url)
