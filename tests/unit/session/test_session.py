from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import filelock
import pytest

from pytest_accel.facts.errors import LockTimeout, UsageError, WorkerCrashed
from pytest_accel.inputs.registry import Registry
from pytest_accel.store.locks import if_free, lock_at
from pytest_accel.testing import FAKE, FakeAccelerator
from pytest_accel.worker.accelerator import Missing, Present

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Workshop


class NoDevice(FakeAccelerator):
    """Its device file is not there, and importing its SDK would crash."""

    @classmethod
    def probe_hardware(cls) -> Missing | None:
        return Missing("no-hardware", "no device", "get one")

    def probe(self) -> Present | Missing:
        raise AssertionError("looked for without a device")


@pytest.fixture
def two(workshop: Workshop) -> Workshop:
    """The fake accelerator, and one that is not here."""
    workshop.registry = Registry({"fake": FAKE, "none": f"{__name__}:{NoDevice.__name__}"})
    workshop.start_again()
    return workshop


def test_an_sdk_is_left_alone_where_there_is_no_device(two: Workshop) -> None:
    assert two.session.find("none") == Missing("no-hardware", "no device", "get one")
    assert two.session.absence("none") == "no device; get one"
    assert two.asked == []


def test_a_device_is_looked_for_once(two: Workshop) -> None:
    for _ in range(2):
        assert two.session.absence("fake") is None
        two.session.versions("fake")
        two.session.hardware("fake")
    assert two.asked == ["probe", "versions"]
    assert two.told == ["looking for fake"]


def test_all_known_accelerators_are_surveyed(two: Workshop) -> None:
    survey = two.session.survey()
    assert {name: type(found) for name, found in survey.items()} == {"fake": Present, "none": Missing}


def test_an_sdk_that_fails_when_it_is_asked_is_asked_once(two: Workshop) -> None:
    error = WorkerCrashed("killed", phase="probe")

    def crash(_: object) -> None:
        two.asked.append("crash")
        raise error

    two.session.shared_client = crash  # type: ignore[method-assign, assignment]
    for _ in range(2):
        with pytest.raises(WorkerCrashed) as caught:
            two.session.absence("fake")
        assert caught.value is error
    assert two.session.survey()["fake"] == Missing("broken-sdk", "killed", "pytest --accelerator=fake shows more of it")
    assert two.asked == ["crash"]


def test_hardware_that_is_not_here_has_no_identity(two: Workshop) -> None:
    with pytest.raises(LookupError, match="none is not here"):
        two.session.hardware("none")


def test_the_instance_type_may_be_told(workshop: Workshop) -> None:
    workshop.start_again(instance_type="g4dn.xlarge")
    hardware = workshop.session.hardware("fake")
    assert hardware.identity["instance_type"] == "g4dn.xlarge"
    assert hardware.fingerprint.startswith("g4dn.xlarge-fake-device-")


def test_the_shared_worker_is_shared_and_a_fresh_one_is_not(workshop: Workshop) -> None:
    shared = workshop.session.shared_client("fake").worker
    assert workshop.session.shared_client("fake").worker is shared
    with workshop.session.fresh_client("fake") as fresh:
        assert fresh.worker is not shared
    assert (fresh.worker.alive, shared.alive) == (False, True)


def device_lock(workshop: Workshop) -> Path:
    (path,) = (workshop.folder / "locks").glob("device-fake-device-*.lock")
    return path


def test_nobody_else_has_the_device_meanwhile_and_everybody_afterwards(workshop: Workshop) -> None:
    with workshop.session.exclusive("fake"):
        path = device_lock(workshop)
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(path, timeout=0, is_singleton=False).acquire()
    with filelock.FileLock(path, timeout=0, is_singleton=False):
        pass


def test_the_device_is_given_back_by_a_failing_test_too(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[filelock.BaseFileLock] = []  # so that it is not given back for want of a holder

    def holding(path: Path) -> filelock.BaseFileLock:
        held.append(lock_at(path))
        return held[-1]

    monkeypatch.setattr("pytest_accel.session.session.lock_at", holding)
    with pytest.raises(ZeroDivisionError), workshop.session.exclusive("fake"):
        raise ZeroDivisionError
    assert [lock.is_locked for lock in held] == [False]


def test_waiting_for_the_device_is_told(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = iter([True, True, False])

    class Busy(filelock.FileLock):
        """Is held by somebody else twice."""

        def acquire(self, *args: object, **given: object) -> object:  # type: ignore[override]
            if next(timeouts):
                raise filelock.Timeout(self.lock_file)
            return super().acquire(timeout=0)

    monkeypatch.setattr("pytest_accel.session.session.lock_at", lambda path: Busy(path))
    workshop.session.find("fake")
    with workshop.session.exclusive("fake") as waited_s:
        told = f"waiting for fake, which another process uses: {device_lock(workshop)}"
        assert workshop.told[1:] == [told] * 2
        assert waited_s > 0.0


def test_a_device_that_never_gets_free_is_given_up(workshop: Workshop) -> None:
    with workshop.session.exclusive("fake"):
        path = device_lock(workshop)
    workshop.start_again(lock_timeout_s=0.01)
    with (
        filelock.FileLock(path, is_singleton=False),
        pytest.raises(LockTimeout, match="accel_lock_timeout"),
        workshop.session.exclusive("fake"),
    ):
        pass


def test_the_folder_of_locks_is_checked_before_it_is_used(workshop: Workshop) -> None:
    (workshop.folder / "locks").mkdir()
    (workshop.folder / "locks").chmod(0o777)
    with (
        pytest.raises(
            UsageError, match=r"accel_lock_dir: .*: everybody may remove locks there .*; choose another folder"
        ),
        workshop.session.exclusive("fake"),
    ):
        pass


def test_the_default_folder_of_locks_has_to_be_this_users(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = workshop.folder / "link"
    folder.symlink_to(workshop.folder)
    monkeypatch.setattr("pytest_accel.session.session.default_lock_dir", lambda: folder)
    workshop.start_again(lock_dir=folder)
    with pytest.raises(UsageError, match="it is a link"), workshop.session.exclusive("fake"):
        pass


def test_closing_ends_every_worker_and_may_be_repeated(workshop: Workshop) -> None:
    shared = workshop.session.shared_client("fake").worker
    workshop.session.cache.entries()
    for _ in range(2):
        workshop.session.close()
        assert not shared.alive


def test_a_session_that_was_not_used_starts_nothing(workshop: Workshop) -> None:
    workshop.session.close()
    assert workshop.asked == []
    assert not (workshop.folder / "cache").exists()


def test_accelerators_on_one_device_and_other_caches_share_its_lock(workshop: Workshop) -> None:
    workshop.registry = Registry({"fake": FAKE, "fake-too": FAKE})
    workshop.start_again(cache_dir=workshop.folder / "another")
    with workshop.session.exclusive("fake"):
        path = device_lock(workshop)
    with workshop.session.exclusive("fake-too"), if_free(filelock.FileLock(path, is_singleton=False)) as free:
        assert not free


HOLDER = """
import os, signal, sys
from pytest_accel.facts.errors import LockTimeout, UsageError, WorkerCrashed
from pytest_accel.store.locks import lock_at
from pathlib import Path

lock = lock_at(Path(sys.argv[1]))
lock.acquire()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_lock_of_a_killed_process_is_nobodys(workshop: Workshop) -> None:
    with workshop.session.exclusive("fake"):
        path = device_lock(workshop)
    killed = subprocess.run([sys.executable, "-c", HOLDER, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    with workshop.session.exclusive("fake"):
        assert not any(text.startswith("waiting") for text in workshop.told)
