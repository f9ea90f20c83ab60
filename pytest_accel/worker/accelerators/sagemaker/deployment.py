"""An endpoint deployed for a test: packed, created, shared by the workers of one run, and gone after them.

An endpoint is billed until it is deleted. So what is created is written down first, in a journal that outlives the
machine's temporary files. Every worker that uses a deployment holds a shared lock on the journal. A process that is
started before anything is created waits for the last of these workers to end, and then deletes it all: see `deletion`.
Where that process was killed too, as with a container, the next run that may contact SageMaker starts it again.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import gzip
import hashlib
import json
import linecache
import os
import platform
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterator, Mapping, TextIO, Tuple

from pytest_accel.worker.accelerator import Refused
from pytest_accel.worker.accelerators.sagemaker import deletion

if TYPE_CHECKING:
    from pytest_accel.worker.accelerators.sagemaker.endpoint import Account

ARCHIVE = "model.tar.gz"
_VARIANT = "AllTraffic"
#: _FIRST_PAUSE_S is the number of seconds of the first pause between two looks; later pauses are twice as long as the
#: one before.
_FIRST_PAUSE_S = 0.1
#: _LONGEST_PAUSE_S is the number of seconds of the longest pause.
_LONGEST_PAUSE_S = 15.0


@dataclass(frozen=True)
class Order:
    """What a deployment needs of the account: the endpoint's role, the container's image, and a place for models."""

    role: str
    image: str
    bucket: str
    prefix: str

    @classmethod
    def from_environment(cls) -> Order:
        """Read ``ACCEL_SAGEMAKER_ROLE``, ``_IMAGE`` and ``_S3``, because a test should not name an account.

        Raises `Refused` with what is missing.
        """
        names = ("ACCEL_SAGEMAKER_ROLE", "ACCEL_SAGEMAKER_IMAGE", "ACCEL_SAGEMAKER_S3")
        missing = [name for name in names if not os.environ.get(name)]
        if missing:
            raise Refused(
                f"deploying an endpoint needs {' and '.join(missing)} in the environment: the ARN of its role, the "
                "URI of a TensorFlow Serving image, and s3://BUCKET/PREFIX for the model"
            )
        role, image, location = (os.environ[name] for name in names)
        scheme, _, path = location.partition("://")
        bucket, _, prefix = path.partition("/")
        if scheme != "s3" or not bucket:
            raise Refused(f"ACCEL_SAGEMAKER_S3={location}: it has to be s3://BUCKET/PREFIX")
        return cls(role, image, bucket, prefix.strip("/"))


def pack(saved_model: str, archive: str) -> None:
    """Write a SavedModel as the ``model.tar.gz`` that the container unpacks. Equal models give equal bytes."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with open(archive, "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed, tarfile.open(
        fileobj=packed, mode="w"
    ) as members:
        members.add(saved_model, "model/1", filter=anonymous)  # adds a folder's files in the order of their names


class Deployment:
    """An endpoint that exists as long as any process holds a lock on the journal."""

    def __init__(self, name: str, journal: TextIO) -> None:
        self.name = name
        self._journal = journal

    @classmethod
    def of(cls, account: Account, order: Order, archive: str, options: Mapping[str, Any]) -> Deployment:
        """Return the deployment of this model in this run. It is created, which takes minutes, unless it is there.

        Raises `Refused` when it cannot be created, or when one of an earlier run cannot be deleted.
        """
        folder = _folder()
        os.makedirs(folder, mode=0o700, exist_ok=True)
        types = options["instance_type"], options["accelerator_type"]
        name = f"pytest-accel-{_digest(archive, order, types)}-{_run()}"
        with open(os.path.join(folder, "deploying.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _require_nothing_left()
            deployment = cls(name, _opened(os.path.join(folder, f"{name}.json")))
            try:
                if not deployment._journal.read():
                    deployment._create(account, order, archive, types)
            except BaseException:
                deployment.release()
                raise
            return deployment

    def release(self) -> None:
        """End the use of the deployment."""
        self._journal.close()

    def _create(self, account: Account, order: Order, archive: str, types: Tuple[str, str]) -> None:
        key = "/".join(filter(None, (order.prefix, self.name, ARCHIVE)))
        created = {"name": self.name, "region": account.region, "bucket": order.bucket, "key": key}
        _start_deleting(self._journal.name)
        self._journal.write(json.dumps(created) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        s3, sagemaker = account.patient("s3"), account.patient("sagemaker")
        with account.explained(f"deploying to {types[0]}"):
            with open(archive, "rb") as body:
                s3.put_object(Bucket=order.bucket, Key=key, Body=body)
            for create, request in _requests(sagemaker, self.name, order, key, types):
                create(**request, Tags=[{"Key": "created-by", "Value": "pytest-accel"}])
            _wait_until_in_service(sagemaker, self.name)


def _requests(
    sagemaker: Any, name: str, order: Order, key: str, types: Tuple[str, str]
) -> Iterator[Tuple[Any, Dict[str, Any]]]:
    container = {"Image": order.image, "ModelDataUrl": f"s3://{order.bucket}/{key}"}
    instance_type, accelerator_type = types
    variant = {
        "VariantName": _VARIANT,
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": instance_type,
        **({"AcceleratorType": accelerator_type} if accelerator_type else {}),
    }
    yield sagemaker.create_model, {"ModelName": name, "ExecutionRoleArn": order.role, "PrimaryContainer": container}
    yield sagemaker.create_endpoint_config, {"EndpointConfigName": name, "ProductionVariants": [variant]}
    yield sagemaker.create_endpoint, {"EndpointName": name, "EndpointConfigName": name}


def _wait_until_in_service(sagemaker: Any, name: str) -> None:
    """Wait for the endpoint. Raises `Refused` with the reason when it ends in another state.

    botocore's waiter ``endpoint_in_service`` knows one bad end, Failed, and would wait an hour in any other. It also
    hides the service's error in one of its own, which has no advice.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        found = sagemaker.describe_endpoint(EndpointName=name)
        if found["EndpointStatus"] == "InService":
            return
        if found["EndpointStatus"] != "Creating":
            raise Refused(f"endpoint {name} is {found['EndpointStatus']}: {found.get('FailureReason', 'no reason')}")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def delete_leftovers() -> None:
    """Let processes delete what killed runs have left. A process that is deleting already keeps the lock."""
    for journal in _journals():
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # in use, or being deleted
        fcntl.flock(journal, fcntl.LOCK_UN)
        _start_deleting(journal.name)


def _start_deleting(path: str) -> None:
    """Start the process that waits for the last user. It survives this process and the process group."""
    module = deletion
    source = "".join(linecache.getlines(str(module.__spec__.origin), vars(module)))  # of a module that was sent too
    # Nor does it use the folder for temporary files, which goes with the worker.
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    subprocess.run(
        [sys.executable, "-c", source, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=environment,
        check=True,
    )


def _require_nothing_left() -> None:
    """Refuse to create anything while something of an earlier run cannot be deleted."""
    for journal in _journals():
        lines = [json.loads(line) for line in journal]
        problem = lines[-1].get("problem", "") if lines else ""
        if problem and problem != deletion.BEING_DELETED:
            name = lines[0]["name"]
            raise Refused(
                f"endpoint {name} of an earlier run is billed and could not be deleted ({problem}): delete it with "
                f"`aws sagemaker delete-endpoint --endpoint-name {name}`, then remove {journal.name}"
            )


def _journals() -> Iterator[TextIO]:
    """Yield the journals of what was deployed and is not known to be gone. A file may vanish at any time."""
    for path in glob.glob(os.path.join(_folder(), "*.json")):
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as journal:
            yield journal


def _opened(path: str) -> TextIO:
    """Open the journal at this path, new or old, with a shared lock. Waits while another process is deleting."""
    while True:
        journal = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the deployment is used
        fcntl.flock(journal, fcntl.LOCK_SH)
        if os.path.exists(path) and os.path.samestat(os.fstat(journal.fileno()), os.stat(path)):
            journal.seek(0)
            return journal
        journal.close()


def _folder() -> str:
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "pytest-accel", "sagemaker")


def _digest(archive: str, *rest: object) -> str:
    digest = hashlib.sha256(repr(rest).encode())
    with open(archive, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:12]


def _run() -> str:
    """Return what all workers of one run have in common: a digest of the controller's host, number and start."""
    controller = os.getppid()
    try:
        with open(f"/proc/{controller}/stat", encoding="utf-8", errors="replace") as stat:
            started = stat.read().rpartition(")")[2].split()[19]
    except OSError:
        started = ""
    return hashlib.sha256(f"{platform.node()} {controller} {started}".encode()).hexdigest()[:8]
