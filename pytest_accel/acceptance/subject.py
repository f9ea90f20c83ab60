"""What is accepted: one accelerator in a session of its own, and how checks get at models for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_accel.acceptance.finding import NotApplicable
from pytest_accel.check.accel_model import AccelModel
from pytest_accel.inputs.models import FILE_KINDS, resolve
from pytest_accel.inputs.variants import expand_marker
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.session import Session

if TYPE_CHECKING:
    from pytest_accel.facts.records import Variant
    from pytest_accel.facts.settings import Settings
    from pytest_accel.inputs.models import Model
    from pytest_accel.processes.client import WorkerClient
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.worker.accelerator import Accelerator

#: YARDSTICK is the name of the yardstick network as a model under test.
YARDSTICK = "yardstick"
#: _KINDS are the kinds of model that examples are preferred in: those that need no conversion come first.
_KINDS = ("torch", "onnx", "saved_model", "keras")


@dataclass
class Subject:
    """One accelerator. ``folder`` is for temporary files, and ``models`` has those that were written there.

    ``raw_answers`` collects the vendor's own, by file name.
    """

    session: Session
    accelerator: str
    folder: Path
    raw_answers: dict[str, str]
    models: dict[str, Path]

    @property
    def implementation(self) -> type[Accelerator]:
        """The accelerator's class."""
        return self.session.registry.find(self.accelerator)

    @property
    def precisions(self) -> list[str]:
        """The precisions that can be asked for, the default first."""
        option = self.implementation.options()["precision"]
        return [str(option.default), *(str(choice) for choice in option.choices if choice != option.default)]

    @property
    def python(self) -> str:
        """The interpreter of its workers, empty for this one."""
        return self.session.settings.interpreters.get(self.accelerator, "")

    @contextmanager
    def opened(self, **options: Any) -> Iterator[AccelModel]:
        """Give what a test has as ``accel_model``, for one variant. The device is ours within the block."""
        (plan,) = expand_marker((self.accelerator,), options, self.session.registry)
        model = AccelModel(self.session, plan, test=f"acceptance of {self.accelerator}")
        try:
            yield model
        finally:
            model.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the device without a model on it; no other process of ours uses it meanwhile."""
        with self.session.exclusive(self.accelerator):
            yield

    @contextmanager
    def with_settings(self, **changes: Any) -> Iterator[Subject]:
        """Give the same subject in another session, as the next run of pytest has one."""
        settings: Settings = replace(self.session.settings, **changes)
        session = Session(settings, self.session.registry, tell=self.session.tell)
        try:
            yield replace(self, session=session)
        finally:
            session.close()

    def variant(self, **options: Any) -> Variant:
        """Return the variant with these options."""
        (plan,) = expand_marker((self.accelerator,), options, self.session.registry)
        return plan.variant

    @property
    def yardstick(self) -> Path:
        """The yardstick network as a model file or folder."""
        if self.implementation.remote:
            raise NotApplicable("it runs outside this machine, where no yardstick can run")
        if YARDSTICK not in self.models:
            self.session.tell("writing the yardstick network")
            source = self.session.shared_client(self.accelerator).yardstick(self.folder / YARDSTICK)
            self.models[YARDSTICK] = Path(source.path)
        return self.models[YARDSTICK]

    def resolved(self, path: Path, name: str) -> Model:
        """Return a model file or folder as a test names it."""
        kinds = {**FILE_KINDS, **self.implementation.file_kinds}
        return resolve(path, name=name, cache=self.session.cache, base=self.folder, kinds=kinds)

    def compiled(self, path: Path, name: str, **options: Any) -> Candidate:
        """Return a model, compiled with these options and the default ones."""
        return compile_candidate(self.session, self.resolved(path, name), self.variant(**options))

    def compiled_yardstick(self, **options: Any) -> Candidate:
        """Return the yardstick network, compiled with these options and the default ones."""
        return self.compiled(self.yardstick, YARDSTICK, **options)

    @property
    def kinds(self) -> list[str]:
        """The kinds of example that it takes and whose framework is here, those without a conversion first."""
        return [kind for kind in _KINDS if kind in self.implementation.sources and self._writer(kind) is not None]

    def example(self, name: str, kind: str | None = None) -> Path:
        """Write an example network, in the first kind that fits where none is named."""
        kinds = [kind] if kind else self.kinds
        if not kinds:
            raise NotApplicable(
                f"there are no examples of the kinds that it takes: {', '.join(self.implementation.sources)}"
            )
        writer = self._writer(kinds[0])
        if writer is None:
            raise NotApplicable(f"the framework of {kinds[0]} models is not here")
        key = f"{name}-{kinds[0]}"
        if key not in self.models:
            self.session.tell(f"writing the example {name}")
            self.models[key] = Path(writer.write_example(name, kinds[0], self.folder / key).path)
        return self.models[key]

    def _writer(self, kind: str) -> WorkerClient | None:
        """Return a worker with the framework of a kind: that of the reference. None where it is not here."""
        reference = self.implementation.references.get(kind)
        if reference is None or self.session.absence(reference) is not None:
            return None
        return self.session.shared_client(reference)
