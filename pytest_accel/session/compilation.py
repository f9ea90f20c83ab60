"""From a model to its artefact, which is taken from the cache or compiled.

What several variants convert a model to first, such as an ONNX file, is an entry of the cache in its own right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Artefact, Hardware, Origin, Variant
from pytest_accel.machine.hardware import seen_through
from pytest_accel.processes.client import Converted
from pytest_accel.session.candidate import Candidate
from pytest_accel.session.compile_target import target_of, under_test
from pytest_accel.store.cache import artefact_key, cache_key
from pytest_accel.store.files import read_regular
from pytest_accel.worker.accelerator import BESIDE, Source

if TYPE_CHECKING:
    from pytest_accel.inputs.calibration import Calibration
    from pytest_accel.inputs.models import Model
    from pytest_accel.session.session import Session
    from pytest_accel.store.cache import Cache, Entry
    from pytest_accel.worker.accelerator import Accelerator

#: _COMPILE_SECONDS is the file beside an artefact with the seconds that compiling it took, which a cached one still
#: has.
_COMPILE_SECONDS = "compile_s"
#: _ORIGIN is the file beside an artefact with its `Origin`, by which others find it.
_ORIGIN = "origin.json"
#: _ARTEFACT is the folder of an entry with the artefact itself.
_ARTEFACT = "artefact"
#: _CONVERTED is the folder of an entry with a converted model; the file of the same name has the facts of the
#: conversion.
_CONVERTED = "converted"


def compile_candidate(
    session: Session, model: Model, variant: Variant, calibration: Calibration | None = None
) -> Candidate:
    """Compile the model for a variant, unless the cache holds what this would give.

    Raises `UsageError` when the accelerator cannot take this kind of model, `CompileFailed` with the vendor's words.
    """
    return _Compilation(session, model, variant, calibration).candidate()


@dataclass
class _Compilation:
    """The compiling of one model for one variant."""

    session: Session
    model: Model
    variant: Variant
    calibration: Calibration | None

    def candidate(self) -> Candidate:
        model, variant = self.model, self.variant
        if model.kind not in self._accelerator.sources:
            takes = ", ".join(self._accelerator.sources)
            raise UsageError(f"{variant.accelerator} cannot compile {model.path} ({model.kind}); it takes: {takes}")
        hardware, _ = self._runs_on
        made_for, versions = self._depends_on
        origin = self._origin
        key = artefact_key(
            model.digest,
            variant.accelerator,
            origin.options,
            versions=versions,
            made_for=made_for,
            code_digest=self.session.code_digest(variant.accelerator),
            calibration_digest=self.calibration.digest if self.calibration is not None else "",
        )
        entry = self.session.cache.entry(key, self._compile, label=f"{model.name} for {variant.id}")
        return Candidate(
            session=self.session,
            model=model,
            variant=variant,
            folder=entry.path / _ARTEFACT,
            artefact=_facts(entry, model),
            origin=origin,
            hardware=hardware,
            compiled_for=made_for,
            cached=entry.hit,
            calibration=self.calibration,
        )

    @property
    def _accelerator(self) -> type[Accelerator]:
        return self.session.registry.find(self.variant.accelerator)

    @cached_property
    def _runs_on(self) -> tuple[Hardware, dict[str, str]]:
        """The device and the versions under test; where a model runs elsewhere, its options lead to them."""
        hardware, versions = under_test(self.session, self.variant)
        if not self._accelerator.remote:
            return hardware, versions
        far_side = self.session.shared_client(self.variant.accelerator).far_side(self.variant.options)
        return seen_through(hardware, far_side.identity), {**versions, **far_side.versions}

    @cached_property
    def _depends_on(self) -> tuple[str, dict[str, str]]:
        """What an artefact is for and the versions that it depends on: those that every machine gives it."""
        target = target_of(self.session, self.variant)
        if target is not None:
            return target.device, target.versions
        hardware, versions = self._runs_on
        return hardware.fingerprint, versions

    @cached_property
    def _origin(self) -> Origin:
        options = self._accelerator.options()
        _, versions = self._runs_on
        return Origin(
            model=self.model.name,
            model_digest=self.model.digest,
            accelerator=self.variant.accelerator,
            options={name: value for name, value in self.variant.options.items() if options[name].compiled_in},
            versions=versions,
        )

    def _compile(self, folder: Path) -> None:
        """Fill the folder of a new entry with the artefact, its origin and the seconds that it took."""
        self.session.tell(f"compiling {self.model.name} for {self.variant.id}")
        source, within, converting_s = self._source()
        seconds = self.session.shared_client(self.variant.accelerator).compile(
            source,
            folder / _ARTEFACT,
            self.variant.options,
            self._tell,
            self.calibration.batches if self.calibration is not None else (),
            within=within,
        )
        (folder / _ORIGIN).write_bytes(msgspec.json.format(msgspec.json.encode(self._origin)))
        (folder / _COMPILE_SECONDS).write_text(f"{converting_s + seconds:.6f}\n", encoding="ascii")

    def _source(self) -> tuple[Source, Path | None, float]:
        """Return what to compile, the folder of its conversion, and the seconds that converting to it takes or took."""
        source, name = Source(self.model.kind, str(self.model.path)), self.variant.accelerator
        depends_on = self._accelerator.converts.get(self.model.kind)
        if depends_on is None:
            return source, None, 0.0

        def convert(folder: Path) -> None:
            client = self.session.shared_client(name)
            converted = client.convert(source, folder / _CONVERTED, self.variant.options, self._tell)
            (folder / f"{_CONVERTED}.json").write_bytes(msgspec.json.encode(converted))

        _, versions = self._depends_on  # what is converted is the same for every device
        key = cache_key(
            "conversion",
            model=self.model.digest,
            accelerator=name,
            options={option: self.variant.options[option] for option in depends_on},
            versions=versions,
            code=self.session.code_digest(name),
        )
        entry = self.session.cache.entry(key, convert, label=f"conversion of {self.model.name} for {name}")
        converted = msgspec.json.decode((entry.path / f"{_CONVERTED}.json").read_bytes(), type=Converted)
        within = entry.path / _CONVERTED
        return Source(converted.kind, str(within / converted.path)), within, converted.seconds

    def _tell(self, share: float | None, detail: str) -> None:
        """Pass on what the compiler is at."""
        done = f"{share:.0%} " if share is not None else ""
        self.session.tell(f"compiling {self.model.name} for {self.variant.id}", f"{done}{detail}", share=share)


def _facts(entry: Entry, model: Model) -> Artefact:
    compile_s = float((entry.path / _COMPILE_SECONDS).read_text(encoding="ascii"))
    return Artefact(
        key=entry.key,
        size_mb=entry.size_mb - _size_mb(entry.path / _ARTEFACT / BESIDE),
        model_digest=model.digest,
        compile_s=compile_s,
        content_digest=entry.digest,
    )


def _size_mb(folder: Path) -> float:
    """Return the size of all files below a folder in units of a million bytes, 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def cached_artefact(cache: Cache, key: str) -> Path | None:
    """Return the folder of an artefact that an earlier run compiled, None when the cache no longer has it."""
    entry = cache.lookup(key)
    return None if entry is None else entry.path / _ARTEFACT


def artefact_of_baseline(cache: Cache, artefact: Artefact, variant: Variant) -> tuple[Path | None, str]:
    """Return the folder of a baseline's artefact, if the cache still has exactly that one, else why it is not used.

    It is known by its content and by what it was compiled from: a key alone would name any entry. There is no reason
    where the cache has no such entry.
    """
    entry = cache.lookup(artefact.key)
    if entry is None:
        return None, ""
    if not artefact.content_digest:
        return None, "an older release saved the baseline without the digest of its artefact"
    if entry.digest != artefact.content_digest:
        return None, "the artefact in the cache has not the content that the baseline names"
    if not _made_for(_origin(entry.path), artefact, variant):
        return None, "the artefact that the baseline names was compiled from something else"
    return entry.path / _ARTEFACT, ""


def _made_for(origin: Origin | None, artefact: Artefact, variant: Variant) -> bool:
    if origin is None or (origin.model_digest, origin.accelerator) != (artefact.model_digest, variant.accelerator):
        return False
    return all(variant.options.get(name, value) == value for name, value in origin.options.items())


def _origin(content: Path) -> Origin | None:
    """Return what an entry was compiled from; None for a reference, a conversion, or what is damaged."""
    with suppress(OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return msgspec.json.decode(read_regular(content / _ORIGIN), type=Origin)
    return None


def stored_artefacts(cache: Cache) -> Iterator[tuple[str, Origin]]:
    """Yield key and origin of each artefact in a compile cache, the last used first."""
    for stored in reversed(cache.entries()):
        if (origin := _origin(cache.content(stored.key))) is not None:
            yield stored.key, origin
