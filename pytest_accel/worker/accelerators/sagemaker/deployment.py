"""An endpoint deployed for a test: packed, created, shared by the workers of one run, and gone after them.

An endpoint is billed until it is deleted. So what is created is written down first, in a journal that outlives the
machine's temporary files. Every worker that uses a deployment holds a shared lock on the journal. A process that is
started before anything is created waits for the last of these workers to end, and then deletes it all: see `deletion`.
A run ends only after that. Where that process was killed too, the next run that may contact SageMaker starts it again.
What a whole container had deployed that was killed is found by its tags: see `leftovers`.
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
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, TextIO, Tuple

from pytest_accel.worker.accelerator import Progress, Refused
from pytest_accel.worker.accelerators.sagemaker import deletion, images
from pytest_accel.worker.accelerators.sagemaker.leftovers import PREFIX, describe_left

if TYPE_CHECKING:
    from pytest_accel.worker.accelerators.sagemaker.endpoint import Account

ARCHIVE = "model.tar.gz"
_ROLE, _PLACE = "ACCEL_SAGEMAKER_ROLE", "ACCEL_SAGEMAKER_S3"
_VARIANT = "AllTraffic"
#: _FIRST_PAUSE_S is the number of seconds of the first pause between two looks; later pauses are twice as long as the
#: one before.
_FIRST_PAUSE_S = 0.1
#: _LONGEST_PAUSE_S is the number of seconds of the longest pause.
_LONGEST_PAUSE_S = 15.0
#: _STUBBORN_S is the number of seconds after which a deletion that is refused is no longer waited for. Being asked too
#: often is a refusal that passes.
_STUBBORN_S = 10.0


@dataclass(frozen=True)
class Order:
    """What a deployment needs of the account: the endpoint's role, the container's image, and a place for models."""

    role: str
    image: str
    bucket: str
    prefix: str

    @classmethod
    def for_instance(cls, instance_type: str) -> Order:
        """Read ``ACCEL_SAGEMAKER_ROLE``, ``_S3`` and the image, because a test should not name an account.

        Raises `Refused` with what is missing, or where the image does not fit the instance type.
        """
        image = images.image_for(instance_type)
        named = {_ROLE: os.environ.get(_ROLE), images.VARIABLE: image, _PLACE: os.environ.get(_PLACE)}
        missing = [name for name, value in named.items() if not value]
        if missing:
            raise Refused(
                f"deploying an endpoint needs {' and '.join(missing)} in the environment: the ARN of its role, the "
                f"URI of a TensorFlow Serving image (or {images.variable_of(instance_type)}), and s3://BUCKET/PREFIX "
                "for the model"
            )
        location = os.environ[_PLACE]
        scheme, _, path = location.partition("://")
        bucket, _, prefix = path.partition("/")
        if scheme != "s3" or not bucket:
            raise Refused(f"{_PLACE}={location}: it has to be s3://BUCKET/PREFIX")
        return cls(os.environ[_ROLE], image, bucket, prefix.strip("/"))


def may_deploy() -> bool:
    """Return whether the environment names the role without which nothing can be deployed."""
    return bool(os.environ.get(_ROLE))


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

    def __init__(self, journal: TextIO) -> None:
        self.name = ""
        self._journal = journal

    @classmethod
    def of(
        cls,
        account: Account,
        order: Order,
        archive: str,
        types: Tuple[str, str],
        *,
        progress: Progress,
        announce: Callable[[str], None],
    ) -> Deployment:
        """Return the deployment of this model in this run. It is created, which takes minutes, unless it is there.

        ``types`` are those of instance and accelerator. Raises `Refused` when it cannot be created, or when one of an
        earlier run cannot be deleted.
        """
        folder = _folder()
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = os.path.join(folder, f"{_digest(archive, order, types)}-{_run()}.json")
        with open(os.path.join(folder, "deploying.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _require_nothing_left()
            deployment = cls(_opened(path))
            try:
                if not deployment._is_known():
                    deployment._create(account, order, archive, types, announce)
                deployment._wait_until_in_service(account, progress)
            except BaseException:
                deployment.release()
                raise
            return deployment

    def release(self) -> None:
        """End the use of the deployment."""
        self._journal.close()

    def _is_known(self) -> bool:
        """Return whether another process of this run has created it; then it has that one's name."""
        created = json.loads(self._journal.readline() or "{}")
        self.name = created.get("name", "")
        return bool(created)

    def _create(
        self,
        account: Account,
        order: Order,
        archive: str,
        types: Tuple[str, str],
        announce: Callable[[str], None],
    ) -> None:
        stem, _ = os.path.splitext(os.path.basename(self._journal.name))
        self.name = f"{PREFIX}{stem}-{os.urandom(3).hex()}"  # one of the same name may still be on its way out
        key = "/".join(filter(None, (order.prefix, self.name, ARCHIVE)))
        _start_deleting(self._journal.name)
        self._note({"name": self.name, "region": str(account.region), "bucket": order.bucket, "key": key})
        announce(f"endpoint {self.name} on {types[0]} in {account.region} is billed until this run has deleted it")
        s3, sagemaker = account.patient("s3"), account.patient("sagemaker")
        with account.explained(f"deploying to {types[0]}"):
            with open(archive, "rb") as body:
                s3.put_object(Bucket=order.bucket, Key=key, Body=body)
            for kind, create, request in _requests(sagemaker, self.name, order, key, types):
                self._note({"arn": create(**request, Tags=deletion.lease())[f"{kind}Arn"]})

    def _note(self, line: Mapping[str, str]) -> None:
        """Add a line to the journal that outlives this machine."""
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def _wait_until_in_service(self, account: Account, progress: Progress) -> None:
        """Wait for the endpoint. Raises `Refused` with the reason when it ends in another state.

        botocore's waiter ``endpoint_in_service`` knows one bad end, Failed, and would wait an hour in any other. It
        also hides the service's error in one of its own, which has no advice.
        """
        sagemaker, pause_s = account.patient("sagemaker"), _FIRST_PAUSE_S
        while True:
            with account.explained(f"describing endpoint {self.name!r}"):
                found = sagemaker.describe_endpoint(EndpointName=self.name)
            status = found["EndpointStatus"]
            progress(None, f"endpoint {self.name} is {status}")
            if status == "InService":
                return
            if status != "Creating":
                raise Refused(f"endpoint {self.name} is {status}: {found.get('FailureReason', 'no reason')}")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _requests(
    sagemaker: Any, name: str, order: Order, key: str, types: Tuple[str, str]
) -> Iterator[Tuple[str, Any, Dict[str, Any]]]:
    """Yield what has to be created, in order: its kind, the operation, and what that is asked for."""
    container = {"Image": order.image, "ModelDataUrl": f"s3://{order.bucket}/{key}"}
    instance_type, accelerator_type = types
    variant = {
        "VariantName": _VARIANT,
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": instance_type,
        **({"AcceleratorType": accelerator_type} if accelerator_type else {}),
    }
    model = {"ModelName": name, "ExecutionRoleArn": order.role, "PrimaryContainer": container}
    yield "Model", sagemaker.create_model, model
    config = {"EndpointConfigName": name, "ProductionVariants": [variant]}
    yield "EndpointConfig", sagemaker.create_endpoint_config, config
    yield "Endpoint", sagemaker.create_endpoint, {"EndpointName": name, "EndpointConfigName": name}


def delete_leftovers() -> None:
    """Let processes delete what killed runs have left. A process that is deleting already keeps the lock."""
    for journal in _journals():
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # in use, or being deleted
        fcntl.flock(journal, fcntl.LOCK_UN)
        _start_deleting(journal.name)


def wait_for_deletions(patience_s: float, progress: Progress) -> List[str]:
    """Wait until the service has accepted that all is deleted which this run has deployed and uses no more.

    Returns a sentence for each endpoint that is left after ``patience_s``, or that cannot be deleted.
    """
    began_s, pause_s = time.monotonic(), _FIRST_PAUSE_S
    while left := dict(_problem(journal) for journal in _journals(_run())):
        delete_leftovers()  # where the process that deletes was killed too
        waited_s = time.monotonic() - began_s
        stubborn = {*left.values()}.isdisjoint(("", deletion.IN_PROGRESS)) and waited_s > _STUBBORN_S
        if stubborn or waited_s > patience_s:
            return [describe_left(name, problem) for name, problem in left.items()]
        progress(None, "; ".join(" ".join(filter(None, each)) for each in left.items()))
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _STUBBORN_S / 4)
    return []


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
        name, problem = _problem(journal)
        if problem and problem != deletion.IN_PROGRESS:
            raise Refused(f"{describe_left(name, problem)}, then remove {journal.name}")


def _problem(journal: TextIO) -> Tuple[str, str]:
    """Return the name that a journal has, and the last problem that deleting it has met."""
    lines = [json.loads(line) for line in journal]
    problems = [line["problem"] for line in lines if "problem" in line]
    return (lines[0]["name"] if lines else ""), (problems[-1] if problems else "")


def _journals(run: str = "*") -> Iterator[TextIO]:
    """Yield the journals of what runs have deployed and is not known to be gone. A file may vanish at any time."""
    for path in glob.glob(os.path.join(_folder(), f"*-{run}.json")):
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
