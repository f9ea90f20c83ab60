"""A compiled model, and the same model once a worker has loaded it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import UnfitInput
from pytest_accel.machine.hardware import controller_versions

if TYPE_CHECKING:
    from pytest_accel.facts.records import Artefact, Hardware, Origin, Signature, Variant
    from pytest_accel.inputs.calibration import Calibration
    from pytest_accel.inputs.models import Model
    from pytest_accel.processes.client import WorkerClient
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
        return {**self.origin.versions, **controller_versions()}

    @contextmanager
    def load(self) -> Iterator[LoadedModel]:
        """Load the artefact in a fresh worker, which ends with the block."""
        with self.session.fresh_client(self.variant.accelerator) as client:
            yield self._loaded_by(client)

    @contextmanager
    def load_shared(self) -> Iterator[LoadedModel]:
        """Load the artefact in the worker that compiles, which has its SDK already. Nothing may be timed there."""
        client = self.session.shared_client(self.variant.accelerator)
        yield self._loaded_by(client)
        client.close()  # after an error the next load takes the place of this one

    def _loaded_by(self, client: WorkerClient) -> LoadedModel:
        loaded = client.load(self.folder, self.variant.options)
        return LoadedModel(self, client, loaded.signature, loaded.load_s)


@dataclass(frozen=True)
class LoadedModel:
    """A candidate in a worker, ready to run. ``client`` asks the worker; ``load_s`` is the time that loading took."""

    candidate: Candidate
    client: WorkerClient
    signature: Signature
    load_s: float

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
