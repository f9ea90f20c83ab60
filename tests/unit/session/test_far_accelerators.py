"""A session whose accelerator is on another machine, which an ssh client without a network stands in for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import pytest

from pytest_accel.facts.errors import HostLost, LockTimeout, UsageError
from pytest_accel.facts.settings import Host, default_lock_dir
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.measuring.latency import Load, Steady
from pytest_accel.store.locks import if_free, lock_at
from pytest_accel.worker.accelerator import Missing, Present
from tests.standins import ssh_client

if TYPE_CHECKING:
    from tests.unit.conftest import Workshop


@pytest.fixture
def far(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """The fake accelerator, on another machine."""
    ssh_client.install(tmp_path, monkeypatch)
    workshop.start_again(in_process=False, hosts={"fake": ssh_client.box(tmp_path)})
    yield workshop
    workshop.session.close()


def test_a_model_is_compiled_loaded_and_timed_there(far: Workshop) -> None:
    candidate = far.compile()
    assert candidate.versions["kernel"] == platform.release()
    with candidate.load() as loaded:
        batches = synthetic(loaded.signature, 1)
        measurement = Steady(loaded, Load("single_stream", batches, items_per_call=1)).measure(calls=100)
    assert len(measurement.latencies_ns) == 100
    assert measurement.conditions.foreign_load_cores is not None
    assert {"connecting to me@box", "looking for fake on me@box"} <= set(far.told)


def test_what_is_on_a_host_has_its_identity_and_not_the_instance_type_of_this_machine(far: Workshop) -> None:
    assert isinstance(far.session.find("fake"), Present)
    far.session.settings = replace(far.session.settings, instance_type="laptop")
    assert "instance_type" not in far.session.hardware("fake").identity


def test_a_host_that_is_not_reached_is_an_absence_and_is_tried_once(
    far: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh_client.install(tmp_path, monkeypatch, "echo x >> tries; echo 'no route to host' >&2; exit 255")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert "me@box cannot be reached: no route to host; `ssh" in str(far.session.absence("fake"))
    assert isinstance(far.session.survey()["fake"], Missing)
    assert (tmp_path / "tries").read_text() == "x\n"


def test_a_device_there_is_locked_there(far: Workshop, tmp_path: Path) -> None:
    with far.session.exclusive("fake"), far.session.exclusive("fake"):
        (path,) = tmp_path.glob("locks/device-*.lock")
        with if_free(filelock.FileLock(str(path), is_singleton=False)) as free:
            assert not free
    far.session.settings = replace(far.session.settings, lock_timeout_s=0.0)
    with lock_at(path), pytest.raises(LockTimeout, match="for fake, and process"), far.session.exclusive("fake"):
        pytest.fail("two have it")
    with far.session.exclusive("fake") as waited_s:
        assert waited_s < 5


def test_the_lock_is_in_the_users_own_folder_there(far: Workshop, tmp_path: Path) -> None:
    far.session.settings = replace(far.session.settings, lock_dir=default_lock_dir())
    with far.session.exclusive("fake"):
        assert len(list(tmp_path.glob("tmp/pytest-accel-*/device-*.lock"))) == 1


def test_a_lost_host_costs_what_ran_there_and_is_looked_for_again(far: Workshop) -> None:
    assert far.session.absence("fake") is None
    connection, client = far.session._connection("fake"), far.session.shared_client("fake")
    assert connection is not None
    with far.session.exclusive("fake"):
        connection._ssh.kill()
        with pytest.raises(HostLost, match="fake: the connection to me@box is lost"):
            client.probe()
    assert far.told.count("connecting to me@box") == 1, "giving a lock back is no reason to connect"
    assert far.session.absence("fake") is None
    with far.session.exclusive("fake") as waited_s:
        assert waited_s < 5
    assert far.told.count("connecting to me@box") == 2


def test_another_interpreter_is_one_of_the_host(far: Workshop, tmp_path: Path) -> None:
    other = far.session.elsewhere(Host("me@box", "/no/such/python"))
    assert "me@box does not start /no/such/python as a Python" in str(other.absence("fake"))
    assert far.session.absence("fake") is None


def test_a_debugger_in_this_process_cannot_follow_there(far: Workshop) -> None:
    far.start_again(in_process=True, hosts=far.session.settings.hosts)
    with pytest.raises(UsageError, match=r"--accel-in-process.*fake is on me@box"):
        far.session.shared_client("fake")
