"""Endpoints that are deployed for a test, through the real boto3: shared, announced, and gone whatever happens."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from pytest_accel.facts.errors import CompileFailed, DeadlineExceeded, UnfitInput
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.process import Worker
from pytest_accel.testing.contract import made_up
from pytest_accel.worker.accelerator import Source
from pytest_accel.worker.accelerators.sagemaker import deletion, leftovers
from pytest_accel.worker.accelerators.sagemaker.endpoint import Account
from pytest_accel.worker.accelerators.sagemaker.sagemaker import SageMaker
from tests.deadlines import pass_once
from tests.standins.sagemaker_runtime.running import Loopback, running

boto3 = pytest.importorskip("boto3")

pytestmark = pytest.mark.slow  # each test starts a service, and most of them kill it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_accel.facts.fact import Scalar

#: What is billed, or lies about, as long as it exists.
KINDS = ("Endpoint", "EndpointConfig", "Model", "Object")


@pytest.fixture(scope="module")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server writes its own network."""
    return tmp_path_factory.mktemp("source") / "linear"


@pytest.fixture(scope="module")
def loopback(linear: Path, state_home: Path) -> Iterator[Loopback]:
    """The services in a process of their own, with boto3 led to them."""
    with running({"linear": linear}) as loopback, pytest.MonkeyPatch.context() as patch:
        for name, value in loopback.environment(state_home).items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield loopback


@pytest.fixture(scope="module")
def artefact(loopback: Loopback, linear: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artefact")
    with worker(tmp_path_factory.mktemp("log")) as client:
        client.compile(Source("saved_model", str(linear)), folder, deployed())
    return folder


@pytest.fixture(autouse=True)
def nothing_stays(loopback: Loopback) -> Iterator[None]:
    yield
    loopback.behave()
    eventually(lambda: not created(loopback))


def deployed(**changes: Scalar) -> dict[str, Scalar]:
    """Options of a variant that is deployed."""
    defaults = {name: option.default for name, option in SageMaker.options().items()}
    return {**defaults, "instance_type": "ml.g4dn.xlarge", **changes}


@contextmanager
def worker(
    log_dir: Path, announce: Callable[[str], None] = lambda _: None, deploy_s: float = 180.0
) -> Iterator[WorkerClient]:
    """A worker that is killed at the end, as workers are."""
    reference = f"{SageMaker.__module__}:{SageMaker.__qualname__}"
    with Worker("sagemaker", reference, log_dir=log_dir, announce=announce) as process:
        yield WorkerClient(process, Deadlines(compile_s=600.0, run_s=180.0, deploy_s=deploy_s), deploys=True)


def test_it_answers_like_any_other_and_is_gone_once_its_worker_was_killed(
    artefact: Path, loopback: Loopback, tmp_path: Path
) -> None:
    with worker(tmp_path) as client:
        loaded = client.load(artefact, deployed())
        assert {kind: len(names) for kind, names in created(loopback).items()} == dict.fromkeys(KINDS, 1)
        images = np.eye(64, dtype=np.float32).reshape(64, 8, 8, 1)
        weights = client.predict({loaded.signature.inputs[0].name: images})["scores"]
    np.testing.assert_allclose(weights, np.random.default_rng(7).normal(size=(64, 10)), rtol=1e-6)
    eventually(lambda: not created(loopback))
    assert "orphaned an endpoint" not in loopback.state()["calls"], "a configuration stays as long as its endpoint"


def test_workers_of_one_run_share_it_until_the_last_has_ended(
    artefact: Path, loopback: Loopback, tmp_path: Path
) -> None:
    before = deployments(loopback)
    with worker(tmp_path) as second:
        with worker(tmp_path) as first:
            first.load(artefact, deployed())
            loaded = second.load(artefact, deployed())
        assert second.predict(made_up(loaded, rows=1))
        second.load(artefact, deployed())
        assert deployments(loopback) == before + 1


@pytest.mark.parametrize(
    ("habits", "message"),
    [
        ({"deployment": "fails"}, r"endpoint pytest-accel-[\w-]+ is Failed: The primary container did not pass"),
        ({"CreateEndpoint": "quota"}, "deploying to ml.g4dn.xlarge: the account's quota does not allow it"),
        ({"PutObject": "no-bucket"}, "name a bucket that is there in ACCEL_SAGEMAKER_S3"),
    ],
)
def test_what_cannot_be_deployed_is_refused_and_cleared_away(
    artefact: Path, loopback: Loopback, tmp_path: Path, habits: dict[str, str], message: str
) -> None:
    loopback.behave(**habits)
    with worker(tmp_path) as client, pytest.raises(CompileFailed, match=message):
        client.load(artefact, deployed())
    eventually(lambda: not created(loopback))


def test_a_test_that_dies_while_it_deploys_leaves_nothing(
    artefact: Path, loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = deployments(loopback)
    loopback.behave(deployment="hangs")
    with worker(tmp_path) as client:
        pass_once(monkeypatch, lambda: deployments(loopback) > before)
        with pytest.raises(DeadlineExceeded, match="killed"):
            client.load(artefact, deployed())
    assert deployments(loopback) == before + 1
    eventually(lambda: "DeleteEndpoint" in loopback.state()["calls"])
    assert created(loopback).keys() == {*KINDS}, "it cannot be deleted, nor may its configuration, while it is created"
    loopback.behave()
    eventually(lambda: not created(loopback))


def test_what_was_left_when_everything_was_killed_is_deleted_by_the_next_run(
    artefact: Path, loopback: Loopback, state_home: Path, tmp_path: Path
) -> None:
    with worker(tmp_path) as client:
        client.load(artefact, deployed())
        (journal,) = state_home.rglob("*.json")
        for deleter in deleters(state_home):
            assert "TMPDIR" not in deleter.environ(), "it lives longer than the worker's temporary folder"
            deleter.kill()
    assert created(loopback)["Endpoint"], "nobody was left to delete it"
    with worker(tmp_path) as client:
        client.probe()
    eventually(lambda: not created(loopback))
    eventually(lambda: not journal.exists())


def test_nothing_is_deployed_while_something_cannot_be_deleted(
    artefact: Path, loopback: Loopback, state_home: Path, tmp_path: Path
) -> None:
    loopback.behave(DeleteEndpoint="denied")
    with worker(tmp_path) as client:
        client.load(artefact, deployed())
        (journal,) = state_home.rglob("*.json")
    eventually(lambda: "AccessDeniedException on DeleteEndpoint" in journal.read_text())
    with (
        worker(tmp_path) as client,
        pytest.raises(
            CompileFailed,
            match=r"is billed and could not be deleted .*aws sagemaker delete-endpoint --endpoint-name",
        ),
    ):
        client.load(artefact, deployed(instance_type="ml.c5.large"))


def test_what_the_account_has_to_lend_is_asked_for_by_name(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCEL_SAGEMAKER_ROLE")
    with (
        worker(tmp_path) as client,
        pytest.raises(CompileFailed, match="needs ACCEL_SAGEMAKER_ROLE in the env"),
    ):
        client.far_side(deployed())


def test_a_container_that_takes_no_npy_says_so(artefact: Path, tmp_path: Path) -> None:
    with worker(tmp_path) as client:
        loaded = client.load(artefact, deployed(payload="npy"))
        with pytest.raises(UnfitInput, match=r"this content type: ask for payload='instances' .*Unsupported Media"):
            client.predict(made_up(loaded, rows=1))


#: Every operation of deploying, measuring and deleting, in order.
STEPS = (
    *("PutObject", "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "DescribeEndpoint", "InvokeEndpoint"),
    *("DeleteEndpoint", "DeleteEndpointConfig", "DeleteObject", "DeleteModel"),
)


@pytest.mark.parametrize("killed", ["processes", "container"])
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_left_once_the_next_run_has_begun(
    artefact: Path,
    loopback: Loopback,
    state_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    killed: str,
) -> None:
    """All processes are killed after the service has done a step, and before it has said so."""

    seen: list[bool] = []

    def ended() -> bool:
        seen.append(loopback.state()["frozen"] == step)
        if seen.count(True) < 2:  # the deadline may have been set in the moment of the first
            return False
        for deleter in deleters(state_home):
            deleter.kill()
        return True

    loopback.behave(freezes=step)
    with worker(tmp_path) as client, monkeypatch.context() as patch:
        if step.startswith("Delete"):
            client.load(artefact, deployed())
            client.worker.kill()
            eventually(ended)
        else:
            pass_once(patch, ended)
            with pytest.raises(DeadlineExceeded):
                client.predict(made_up(client.load(artefact, deployed()), rows=1))
    if killed == "container":
        shutil.rmtree(state_home / "pytest-accel")
        loopback.pass_time(deletion.LEASE_S)
    loopback.behave()
    assert created(loopback) or step == STEPS[-1]
    with worker(tmp_path) as client:
        client.probe()
    if (step, killed) == ("PutObject", "container"):  # no tag tells whose a file is
        assert created(loopback).keys() == {"Object"}
        boto3.client("s3").delete_object(Bucket="models", Key=created(loopback)["Object"][0].partition("/")[2])
    eventually(lambda: not created(loopback))


def test_the_name_is_told_before_anything_is_created(artefact: Path, loopback: Loopback, tmp_path: Path) -> None:
    loopback.behave(PutObject="no-bucket")
    announced: list[str] = []
    with worker(tmp_path, announced.append) as client, pytest.raises(CompileFailed):
        client.load(artefact, deployed())
    (sentence,) = announced
    assert re.fullmatch(
        r"endpoint pytest-accel-[\w-]+ on ml\.g4dn\.xlarge in eu-west-1 is billed until this run has deleted it",
        sentence,
    )


def test_progress_says_which_endpoint_is_waited_for(artefact: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    with worker(tmp_path) as client:
        client.load(artefact, deployed(), lambda _, detail: heard.append(detail))
    assert re.fullmatch(r"endpoint pytest-accel-[\w-]+ is Creating", heard[0])
    assert heard[-1].endswith(" is InService")


def test_a_run_ends_only_after_the_service_has_accepted_the_deletion(
    artefact: Path, loopback: Loopback, tmp_path: Path
) -> None:
    with worker(tmp_path) as last:
        with worker(tmp_path) as client:
            client.load(artefact, deployed())
        assert last.delete_deployments() == ()
        assert created(loopback).keys() <= {"Endpoint"}, "it takes minutes to be gone, and nobody waits for that"


@pytest.mark.parametrize(
    ("habit", "left"),
    [
        ({"DeleteEndpoint": "denied"}, r"could not be deleted \(AccessDeniedException on DeleteEndpoint\): delete it"),
        ({"deployment": "hangs"}, r"could not be deleted \(it is still being created\): delete it with `aws sage"),
    ],
)
def test_what_cannot_be_deleted_is_told_at_the_end(
    artefact: Path,
    loopback: Loopback,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    habit: dict[str, str],
    left: str,
) -> None:
    before = deployments(loopback)
    loopback.behave(**habit)
    with worker(tmp_path) as client, monkeypatch.context() as patch:
        pass_once(patch, lambda: "hangs" in habit.values() and deployments(loopback) > before)
        with suppress(DeadlineExceeded):
            client.load(artefact, deployed())
    with worker(tmp_path, deploy_s=1.0) as client:
        (sentence,) = client.delete_deployments()
    assert re.search(left, sentence)


def test_what_others_use_or_have_made_is_never_touched(loopback: Loopback) -> None:
    ours, over, lasting = deletion.CREATED_BY, expiry(-60), expiry(+60)
    cases = {
        "pytest-accel-in-use": [ours, lasting],
        "pytest-accel-of-somebody": [over],
        "pytest-accel-of-another": [{**ours, "Value": "somebody"}, over],
        "pytest-accel-without-expiry": [ours],
        "pytest-accel-never": [ours, {**over, "Value": "never"}],
        "my-pytest-accel-copy": [ours, over],
    }
    sagemaker = boto3.client("sagemaker")
    left = [f"pytest-accel-{number}" for number in range(15)]
    for name, tags in {**cases, **{name: [ours, over] for name in left}}.items():
        make_model(sagemaker, name, tags)
    config = {"EndpointConfigName": "pytest-accel-1", "ProductionVariants": [{"VariantName": "v", "ModelName": "m"}]}
    sagemaker.create_endpoint_config(**config, Tags=[ours, lasting])
    told = leftovers.delete_expired(Account())
    assert sorted(told) == sorted(
        f"endpoint {name}, which an earlier run had left, is deleted" for name in left if name != "pytest-accel-1"
    )
    assert created(loopback)["Model"] == sorted([*cases, "pytest-accel-1"])
    for name in (*cases, "pytest-accel-1"):
        assert deletion.delete({"name": name, "region": "eu-west-1", "bucket": "", "key": ""}) == ""


def test_a_living_run_renews_its_lease_until_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loopback: Loopback
) -> None:
    sagemaker = boto3.client("sagemaker")
    arn = make_model(sagemaker, "pytest-accel-long", [deletion.CREATED_BY, expiry(-60)])
    created_first = {"name": "pytest-accel-long", "region": "eu-west-1", "bucket": "", "key": ""}
    journal = tmp_path / "long.json"
    journal.write_text(f"{json.dumps(created_first)}\n{json.dumps({'arn': arn})}\n")
    monkeypatch.setattr(deletion, "_RENEWED_EVERY_S", 0.01)
    with journal.open() as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        waiting = threading.Thread(target=deletion.delete_when_unused, args=(str(journal),))
        waiting.start()
        eventually(lambda: sagemaker.list_tags(ResourceArn=arn)["Tags"][1]["Value"] > expiry(+600)["Value"])
        assert leftovers.delete_expired(Account()) == []
    waiting.join()
    assert not created(loopback)


def test_an_account_that_may_not_be_looked_through_is_told(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.behave(ListModels="denied")
    announced: list[str] = []
    with worker(tmp_path, announced.append) as client:
        client.probe()
        (sentence,) = announced
        assert "looking for what earlier runs have left: let the role that calls do this operation" in sentence
        monkeypatch.delenv("ACCEL_SAGEMAKER_ROLE")
    with worker(tmp_path, announced.append) as client:
        client.probe()
    assert len(announced) == 1, "a run that cannot deploy looks for nothing"


def make_model(sagemaker: Any, name: str, tags: list[dict[str, str]]) -> str:
    container = {"Image": "image", "ModelDataUrl": f"s3://models/{name}"}
    request = {"ModelName": name, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/serving"}
    arn: str = sagemaker.create_model(**request, PrimaryContainer=container, Tags=tags)["ModelArn"]
    return arn


def expiry(in_s: float) -> dict[str, str]:
    """The tag of a lease that ends in so many seconds."""
    moment = time.gmtime(time.time() + in_s)
    return {"Key": deletion.EXPIRES, "Value": time.strftime(deletion.EXPIRY_FORMAT, moment)}


def created(loopback: Loopback) -> dict[str, list[str]]:
    """What was created for a test and is still there, by kind."""
    state: dict[str, Any] = loopback.state()
    ours = {kind: [name for name in state[kind] if "pytest-accel-" in name] for kind in KINDS}
    return {kind: names for kind, names in ours.items() if names}


def deployments(loopback: Loopback) -> int:
    """How often an endpoint was asked for."""
    calls: list[str] = loopback.state()["calls"]
    return calls.count("CreateEndpoint")


def deleters(state_home: Path) -> list[psutil.Process]:
    """The processes that wait to delete what a journal names."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[-1].startswith(str(state_home))
    ]


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what another process does soon."""
    until_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until_s, "it never happened"
        time.sleep(0.05)
