"""From a model to something that runs: the artefact, taken from the cache or compiled, and loaded in a fresh worker.

What several variants convert a model to first, such as an ONNX file, is an entry of the cache in its own right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.errors import UnfitInput, UsageError
from pytest_accel.facts.records import Artefact, Hardware, Origin, Scalar, Signature, Variant
from pytest_accel.machine.hardware import seen_through
from pytest_accel.processes.client import Converted
from pytest_accel.store.cache import artefact_key
from pytest_accel.worker.accelerator import Source

if TYPE_CHECKING:
    from pytest_accel.inputs.calibration import Calibration
    from pytest_accel.inputs.dataset_elements import Arrays
    from pytest_accel.inputs.models import Model
    from pytest_accel.processes.client import Launch
    from pytest_accel.session.session import Session
    from pytest_accel.store.cache import Cache, Entry

#: Written beside the artefact by whoever compiled it, so that a cached one still tells how long that took.
_COMPILE_SECONDS = "compile_s"
#: What it was compiled from, so that others can find it by model and variant.
_ORIGIN = "origin.json"
_ARTEFACT = "artefact"
_CONVERTED = "converted"


@dataclass(frozen=True)
class Candidate:
    """A compiled model. ``folder`` holds its artefact; ``cached`` says that this run did not compile it."""

    model: Model
    variant: Variant
    folder: Path
    artefact: Artefact
    origin: Origin
    hardware: Hardware
    cached: bool
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Running:
    """An artefact loaded in a worker of its own."""

    launch: Launch
    signature: Signature
    load_s: float


def compile_candidate(
    session: Session, model: Model, variant: Variant, calibration: Calibration | None = None
) -> Candidate:
    """The model compiled for a variant. Compiles only what the cache does not hold.

    Raises `UsageError` when the accelerator cannot take this kind of model, `CompileFailed` with the vendor's words.
    """
    accelerator = session.registry.find(variant.accelerator)
    if model.kind not in accelerator.sources:
        takes = ", ".join(accelerator.sources)
        raise UsageError(f"{variant.accelerator} cannot compile {model.path} ({model.kind}); it takes: {takes}")
    options = accelerator.options()
    hardware, versions = _runs_on(session, variant)
    origin = Origin(
        model=model.name,
        model_digest=model.digest,
        accelerator=variant.accelerator,
        options={name: value for name, value in variant.options.items() if options[name].compiled_in},
        versions=versions,
    )
    key = artefact_key(
        model.digest,
        variant.accelerator,
        origin.options,
        versions=origin.versions,
        hardware=hardware,
        calibration_digest=calibration.digest if calibration is not None else "",
    )

    def build(folder: Path) -> None:
        session.tell(f"compiling {model.name} for {variant.id}")
        source, converting_s = _converted(session, model, variant)
        seconds = session.shared_launch(variant.accelerator).compile(
            source,
            folder / _ARTEFACT,
            variant.options,
            _teller(session, model, variant),
            calibration.batches if calibration is not None else (),
        )
        (folder / _ORIGIN).write_bytes(msgspec.json.format(msgspec.json.encode(origin)))
        (folder / _COMPILE_SECONDS).write_text(f"{converting_s + seconds:.6f}\n", encoding="ascii")

    entry = session.cache.entry(key, build, label=f"{model.name} for {variant.id}")
    return Candidate(
        model=model,
        variant=variant,
        folder=entry.path / _ARTEFACT,
        artefact=_facts(entry, model),
        origin=origin,
        hardware=hardware,
        cached=entry.hit,
        calibration=calibration,
    )


def _runs_on(session: Session, variant: Variant) -> tuple[Hardware, dict[str, str]]:
    """The device and the versions under test; where a model runs elsewhere, its options lead to them."""
    name = variant.accelerator
    hardware, versions = session.hardware(name), session.versions(name)
    if not session.registry.find(name).remote:
        return hardware, versions
    there = session.shared_launch(name).far_side(variant.options)
    return seen_through(hardware, there.identity), {**versions, **there.versions}


def _converted(session: Session, model: Model, variant: Variant) -> tuple[Source, float]:
    """What to compile, and the seconds that converting to it takes or took."""
    source = Source(model.kind, str(model.path))
    depends_on = session.registry.find(variant.accelerator).converts.get(model.kind)
    if depends_on is None:
        return source, 0.0

    def build(folder: Path) -> None:
        launch = session.shared_launch(variant.accelerator)
        made = launch.convert(source, folder / _CONVERTED, variant.options, _teller(session, model, variant))
        (folder / f"{_CONVERTED}.json").write_bytes(msgspec.json.encode(made))

    key = artefact_key(
        model.digest,
        f"conversion for {variant.accelerator}",
        {name: variant.options[name] for name in depends_on},
        versions=session.versions(variant.accelerator),
        hardware=session.hardware(variant.accelerator),
    )
    entry = session.cache.entry(key, build, label=f"conversion of {model.name} for {variant.accelerator}")
    made = msgspec.json.decode((entry.path / f"{_CONVERTED}.json").read_bytes(), type=Converted)
    return Source(made.kind, str(entry.path / _CONVERTED / made.path)), made.seconds


def _facts(entry: Entry, model: Model) -> Artefact:
    compile_s = float((entry.path / _COMPILE_SECONDS).read_text(encoding="ascii"))
    return Artefact(key=entry.key, size_mb=entry.size_mb, model_digest=model.digest, compile_s=compile_s)


def _teller(session: Session, model: Model, variant: Variant) -> Callable[[float | None, str], None]:
    def tell(share: float | None, doing: str) -> None:
        done = f"{share:.0%} " if share is not None else ""
        session.tell(f"compiling {model.name} for {variant.id}", f"{done}{doing}", share=share)

    return tell


def renamed(batches: Sequence[Arrays], signature: Signature) -> list[Arrays]:
    """The batches under the names that an artefact gives its inputs: exporting or compiling anew may rename them.

    Raises `UnfitInput` when they are not as many.
    """
    names = [spec.name for spec in signature.inputs]
    for batch in batches:
        if len(batch) != len(names):
            raise UnfitInput(f"the model takes the inputs {names}, got {list(batch)}")
    return [batch if set(batch) == set(names) else dict(zip(names, batch.values(), strict=True)) for batch in batches]


def cached_artefact(cache: Cache, key: str) -> Path | None:
    """The folder of an artefact that an earlier run compiled, None when the cache no longer has it."""
    entry = cache.lookup(key)
    return entry.path / _ARTEFACT if entry is not None else None


def stored_artefacts(cache: Cache) -> Iterator[tuple[str, Origin]]:
    """Key and origin of each artefact in a compile cache, the last used first."""
    for stored in reversed(cache.entries()):
        with suppress(FileNotFoundError, msgspec.MsgspecError):  # a reference, a conversion, or of another release
            yield stored.key, msgspec.json.decode((cache.content(stored.key) / _ORIGIN).read_bytes(), type=Origin)


@contextmanager
def shared(session: Session, candidate: Candidate) -> Iterator[Running]:
    """Load a candidate in the worker that compiles, which has its SDK already. Nothing may be timed there."""
    accelerator, options = candidate.variant.accelerator, candidate.variant.options
    launch = session.shared_launch(accelerator)
    loaded = launch.load(candidate.folder, options)
    yield Running(launch, loaded.signature, loaded.load_s)
    launch.close()  # after an error the next load takes the place of this one


@contextmanager
def running(session: Session, accelerator: str, folder: Path, options: Mapping[str, Scalar]) -> Iterator[Running]:
    """Load an artefact in a fresh worker, which ends with the block."""
    with session.fresh_launch(accelerator) as launch:
        loaded = launch.load(folder, options)
        yield Running(launch, loaded.signature, loaded.load_s)
