"""What can go wrong, each with the next action in its message.

AccelError
├── UsageError             a marker, option or argument that cannot be right
├── SourceError            the model cannot be found or read
├── DatasetError           the evaluation data do not fit the model
├── BaselineError          a baseline file cannot be read or written
├── CacheError             the compile cache cannot be read or written
├── LockTimeout            another process holds a lock for longer than it may be waited for
├── Pruned                 a variant was left out of its sweep: a smaller batch has shown that it cannot keep its limit
├── NotRun                 a part of the test would run a model, which this run only compiles
└── WorkerError            the worker could not do what was asked
    ├── WorkerCrashed      the process ended: a signal, an exit, out of memory
    ├── DeadlineExceeded   the process was killed at its deadline
    ├── CompileFailed      the compiler refused the model
    ├── UnfitInput         the accelerator refused the inputs
    ├── HostUnfit          a machine cannot be reached over ssh, or cannot run workers
    └── HostLost           the connection to a machine ended
"""

from __future__ import annotations


class AccelError(Exception):
    """The base of every error that pytest-accel raises on purpose."""


class UsageError(AccelError):
    """A marker, option or argument that cannot be right; names the valid ones."""


class SourceError(AccelError):
    """The model cannot be found, read or exported."""


class DatasetError(AccelError):
    """The evaluation data do not fit the model: names the input, what it expects and what came."""


class BaselineError(AccelError):
    """A baseline cannot be read or written; names file, line and field."""


class CacheError(AccelError):
    """The compile cache cannot be read or written."""


class LockTimeout(AccelError):
    """A lock was not free in time; names what it locks, who holds it, where it lies and the ini key."""


class Pruned(AccelError):
    """A variant is left out of its sweep; the message says which smaller batch has broken which limit."""


class NotRun(AccelError):
    """A part of the test would run a model, and this run only compiles."""


class WorkerError(AccelError):
    """The worker could not do what was asked.

    ``phase`` is what it was doing ("compile", "load", "measure"); ``details`` is the far side's traceback, native stack
    or the tail of its stderr, ready to print.
    """

    def __init__(self, message: str, *, phase: str = "", details: str = "") -> None:
        super().__init__(message)
        self.phase = phase
        self.details = details


class WorkerCrashed(WorkerError):
    """The worker process ended in the middle of a request."""


class DeadlineExceeded(WorkerError):
    """The worker was still busy at its deadline and was killed."""


class CompileFailed(WorkerError):
    """The accelerator's compiler refused the model; the message is the vendor's words."""


class UnfitInput(WorkerError):
    """The accelerator refused the inputs it was given."""


class HostUnfit(WorkerError):
    """A machine cannot be reached over ssh, or cannot run workers.

    ``kind`` is one of no-ssh, unreached, refused, no-python, old-python, no-numpy and no-disk; ``reason`` names the
    machine, and ``action`` says what to do about it.
    """

    def __init__(self, kind: str, reason: str, action: str) -> None:
        super().__init__(f"{reason}; {action}", phase="start")
        self.kind = kind
        self.reason = reason
        self.action = action


class HostLost(WorkerError):
    """The connection to a machine ended, so that nobody knows what became of the work there."""
