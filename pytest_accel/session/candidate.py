"""A compiled model, and the same model once a worker has loaded it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import UnfitInput
from pytest_accel.session.execution import ExecutionCount

if TYPE_CHECKING:
    from pytest_accel.facts.records import Artefact, Hardware, Origin, Placement, Signature, Variant
    from pytest_accel.inputs.calibration import Calibration
    from pytest_accel.inputs.models import Model
    from pytest_accel.processes.client import Loaded, WorkerClient
    from pytest_accel.session.session import Session
    from pytest_accel.worker.accelerator import Arrays, Intermediate


@dataclass(frozen=True)
class Candidate:
    """A model compiled for a variant, in the session that compiled it.

    ``folder`` holds its artefact; ``cached`` says that this run did not compile it. ``compiled_for`` is the kind of
    device that the artefact is for, or the fingerprint of the hardware where the compiler needs that.
    """

    session: Session
    model: Model
    variant: Variant
    folder: Path
    artefact: Artefact
    origin: Origin
    hardware: Hardware
    compiled_for: str
    cached: bool
    calibration: Calibration | None = None

    def __str__(self) -> str:
        """Name it as lines of progress do."""
        return f"{self.model.name} on {self.variant.id}"

    @property
    def versions(self) -> dict[str, str]:
        """The versions that a record of it has: what is under test, and what the controller adds."""
        return {**self.origin.versions, **self.session.versions_around(self.variant.accelerator)}

    @property
    def is_exclusive(self) -> bool:
        """Whether what a worker has of the device is nobody else's until the worker ends."""
        return self.session.registry.find(self.variant.accelerator).exclusive

    @contextmanager
    def load(self) -> Iterator[LoadedModel]:
        """Load the artefact in a fresh worker, which ends with the block."""
        loaded = LoadedModel(self, partial(self.session.fresh_client, self.variant.accelerator))
        try:
            yield loaded
        finally:
            loaded.close()

    @contextmanager
    def load_shared(self) -> Iterator[LoadedModel]:
        """Load the artefact in the worker that compiles, which has its SDK already. Nothing may be timed there.

        That worker lives on, so a device that it could not give back is used in a fresh one.
        """
        if self.is_exclusive:
            with self.load() as loaded:
                yield loaded
            return
        client = self.session.shared_client(self.variant.accelerator)
        yield LoadedModel(self, lambda: nullcontext(client))
        client.close()  # after an error the next load takes the place of this one


class LoadedModel:
    """A candidate in a worker, ready to run. ``load_s`` is the time that loading took.

    ``start`` starts the worker, and another one where the model is used again after `release`.
    """

    def __init__(self, candidate: Candidate, start: Callable[[], AbstractContextManager[WorkerClient]]) -> None:
        self.candidate = candidate
        self._start = start
        self._process = ExitStack()
        self._count: ExecutionCount | None = None
        self._client: WorkerClient | None = None
        try:
            loaded = self._load()
        except BaseException:
            self.close()
            raise
        self.signature, self.load_s = loaded.signature, loaded.load_s

    def _load(self) -> Loaded:
        candidate, session = self.candidate, self.session
        if candidate.is_exclusive and not session.settings.in_process:
            self._count = ExecutionCount(session, candidate.variant.accelerator)
        self._client = self._process.enter_context(self._start())

        def deploying(share: float | None, detail: str) -> None:
            session.tell(f"deploying {candidate}", detail, share=share)

        return self._client.load(candidate.folder, candidate.variant.options, deploying)

    @property
    def client(self) -> WorkerClient:
        """What asks the worker."""
        if self._client is None:
            self._load()
        assert self._client is not None
        return self._client

    def placement(self) -> tuple[Placement, float | None]:
        """Return where the operators run, and the floating-point operations of one call where they can be counted.

        The worker ends where the device counts its executions only then. Raises `WorkerError` where it counted too few.
        """
        placement = self.client.placement()
        if self._count is not None and (made := self.client.executions_made()):
            self.release()
            self._count.require(made)
        return placement

    def release(self) -> None:
        """End the worker, and with it all that it has of the device. The next use starts another one."""
        self.close()
        self._client = None

    def close(self) -> None:
        """End the worker for good."""
        self._process.close()

    @property
    def session(self) -> Session:
        """The session that the worker belongs to."""
        return self.candidate.session

    def predict(self, inputs: Arrays) -> Arrays:
        """Run one batch, untimed. The inputs may have the names that another artefact of the model gives them.

        Raises `UnfitInput` when the inputs do not fit the signature.
        """
        return self.client.predict(*renamed([inputs], self.signature))

    def intermediates(self, inputs: Arrays) -> list[Intermediate]:
        """Return the floating-point tensors inside the artefact for one batch, in the order of computation."""
        return self.client.intermediates(*renamed([inputs], self.signature))


def renamed(batches: Sequence[Arrays], signature: Signature) -> list[Arrays]:
    """Give batches the names that an artefact has for its inputs: exporting or compiling anew may rename them.

    Raises `UnfitInput` when the signature has another number of inputs.
    """
    names = [spec.name for spec in signature.inputs]
    for batch in batches:
        if len(batch) != len(names):
            raise UnfitInput(f"the model takes the inputs {names}, got {list(batch)}")
    return [batch if set(batch) == set(names) else dict(zip(names, batch.values(), strict=True)) for batch in batches]
