"""What a process loses, the next one has: memory that ran out, and a process that is killed."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import psutil

from pytest_accel.acceptance.finding import Broken, Finding, NotApplicable
from pytest_accel.facts.errors import WorkerCrashed, WorkerError
from pytest_accel.inputs.synthetic import synthetic

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.worker.accelerator import Arrays

#: _ROOM_MB is the memory that a worker may still get where it is to run out of it. A model of more does not fit.
_ROOM_MB = 24


def check_out_of_memory(subject: Subject) -> Finding:
    """Hold where loading without enough memory is an error with words, and works in the next process.

    It is the memory of the host that is short, for one process alone, so that no other one is in danger.
    """
    _require_processes(subject)
    with subject.alone():
        candidate = subject.compiled(subject.example("resnet50"), "resnet50")
        with subject.session.fresh_client(subject.accelerator) as client:
            client.probe()  # the SDK itself has its memory
            process = psutil.Process(client.worker.pid)
            room = process.memory_info().vms + _ROOM_MB * 2**20
            resource.prlimit(client.worker.pid, resource.RLIMIT_AS, (room, room))
            words = _refusal(lambda: client.load(candidate.folder, candidate.variant.options))
        _answers(subject, candidate)
    if not words:
        raise NotApplicable(f"the model loads within {_ROOM_MB} MB more than its SDK has already")
    return Finding(f"told as: {words}")


def check_killed_process(subject: Subject) -> Finding:
    """Hold where a process that is killed is told as that, and the device is free for the next one at once."""
    _require_processes(subject)
    with subject.alone():
        candidate = subject.compiled_yardstick()
        expected = _answers(subject, candidate)
        with subject.session.fresh_client(subject.accelerator) as client:
            loaded = client.load(candidate.folder, candidate.variant.options)
            os.kill(client.worker.pid, signal.SIGKILL)
            batch = synthetic(loaded.signature, candidate.variant.batch_size)[0]
            words = _crash(lambda: client.predict(batch))
        again = _answers(subject, candidate)
    for name, output in expected.items():
        if not np.allclose(output, again[name], rtol=1e-4, atol=1e-6):
            raise Broken(f"after a killed process the output {name!r} is another one")
    return Finding(f"told as: {words}; the next process gives the same answers")


def check_free_device(subject: Subject) -> Finding:
    """Hold where a session that ends leaves no process behind, which could hold the device."""
    _require_processes(subject)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with subject.with_settings() as other, other.alone():
        _answers(other, other.compiled_yardstick())
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before and _lives(child)]
    if left:
        raise Broken(f"process {left[0].pid} ({left[0].name()}) is left over, and may hold the device")
    return Finding("no process is left over")


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _answers(subject: Subject, candidate: Candidate) -> Arrays:
    """Return what a fresh process answers."""
    with subject.session.fresh_client(subject.accelerator) as client:
        loaded = client.load(candidate.folder, candidate.variant.options)
        return client.predict(synthetic(loaded.signature, candidate.variant.batch_size)[0])


def _refusal(action: Callable[[], object]) -> str:
    """Return the first line of the error that a worker gives, empty where there is none."""
    try:
        action()
    except WorkerError as error:
        return str(error).partition("\n")[0]
    return ""


def _crash(action: Callable[[], object]) -> str:
    try:
        action()
    except WorkerCrashed as error:
        return str(error).partition("\n")[0]
    raise Broken("a process that was killed goes on to answer")


def _require_processes(subject: Subject) -> None:
    if subject.session.settings.in_process or subject.implementation.remote:
        raise NotApplicable("there is no process of its own to lose")
