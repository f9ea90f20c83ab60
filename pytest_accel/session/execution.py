"""Did the calls run on the device? Asked of a device that counts what a process did only when the process ends.

The worker that compiles has nothing of the device, so it is asked for the count: before another worker starts, and
after that one has ended. A count that others have added to proves nothing. Then, and where a device does not count at
all, the run says so at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.facts.errors import WorkerError

if TYPE_CHECKING:
    from pytest_accel.session.session import Session


class ExecutionCount:
    """What the device counts around the life of one worker, which has not started yet."""

    def __init__(self, session: Session, accelerator: str) -> None:
        self._session = session
        self._accelerator = accelerator
        self._ended_before = session.ended_workers[accelerator]
        self._counted_before = self._counted()

    def require(self, made: int) -> None:
        """Raise `WorkerError` where the device counted less than ``made`` executions of the worker, which has ended."""
        counted = self._counted()
        if counted is None or self._counted_before is None:
            self._warn("the device does not tell how many executions it has made")
        elif (during := counted - self._counted_before) < made:
            raise WorkerError(
                f"placement failed: NotExecuted: the device counted {during} executions and {made} at least were asked "
                "of it, so the outputs came from elsewhere: nothing here was measured there. Look whether the artefact "
                "was compiled by the SDK that runs it, and at the worker's log",
                phase="placement",
            )
        elif self._session.ended_workers[self._accelerator] - self._ended_before != 1:
            self._warn("the device has counted the executions of several workers together")

    def _counted(self) -> int | None:
        return self._session.shared_client(self._accelerator).executions_counted()

    def _warn(self, why: str) -> None:
        self._session.warn(f"{self._accelerator}: that the calls ran on the device is not proven, because {why}")
