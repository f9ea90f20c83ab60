"""The reference: the uncompiled FP32 model in its own framework, which says what a model takes and what is right.

Its outputs are computed once for a model, a dataset and a framework version, and kept in the cache like an artefact.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pytest_accel.cache import artefact_key
from pytest_accel.candidate import compile_candidate, renamed, running
from pytest_accel.errors import UsageError
from pytest_accel.records import Scalar, Signature, Variant

if TYPE_CHECKING:
    from pytest_accel.datasets import Dataset
    from pytest_accel.elements import Arrays
    from pytest_accel.session import Session
    from pytest_accel.sources import Model

_SIGNATURE = "signature.json"
_NAMES = "names.json"


def reference_variant(session: Session, model: Model, variant: Variant) -> Variant:
    """How the reference runs: its own defaults, but the batch and signature of ``variant``, which say what a sample is.

    Raises `UsageError` when there is no reference for this kind of model, or none here.
    """
    accelerator = session.registry.find(variant.accelerator).references.get(model.kind)
    if accelerator is None:
        raise UsageError(
            f"{variant.accelerator} names no accelerator that runs the reference of {model.kind} models: "
            f"add it to its class's `references`"
        )
    if (missing := session.absence(accelerator)) is not None:
        raise UsageError(f"the reference of {model.kind} models runs on {accelerator}, which is not here: {missing}")
    defaults = {name: option.default for name, option in session.registry.find(accelerator).options().items()}
    shared = {name: variant.options[name] for name in ("batch_size", "signature")}
    return Variant(accelerator=accelerator, options={**defaults, **shared})


def signature_of(session: Session, model: Model, variant: Variant) -> Signature:
    """What the uncompiled model takes and gives; known before ``variant`` is compiled."""
    reference = reference_variant(session, model, variant)

    def build(folder: Path) -> None:
        compiled = compile_candidate(session, model, reference)
        with running(session, reference.accelerator, compiled.folder, reference.options) as its:
            (folder / _SIGNATURE).write_bytes(msgspec.json.encode(its.signature))

    key = _key(session, model, reference, "signature", {})
    entry = session.cache.entry(key, build, label=f"signature of {model.name}")
    return msgspec.json.decode((entry.path / _SIGNATURE).read_bytes(), type=Signature)


def reference_outputs(session: Session, model: Model, variant: Variant, dataset: Dataset) -> Arrays:
    """The reference's outputs for every sample, by output name; memory-mapped, first axis the sample."""
    reference = reference_variant(session, model, variant)

    def build(folder: Path) -> None:
        rows: dict[str, list[Any]] = {}
        compiled = compile_candidate(session, model, reference)
        with running(session, reference.accelerator, compiled.folder, reference.options) as its:
            done = 0
            for batch in dataset:
                (inputs,) = renamed([batch.inputs], its.signature)
                for name, output in its.launch.predict(inputs).items():
                    rows.setdefault(name, []).append(output[: batch.rows])
                done += batch.rows
                session.tell(f"computing the reference of {model.name}: {done} samples")
        for number, parts in enumerate(rows.values()):
            np.save(folder / f"{number:04}.npy", np.concatenate(parts))
        (folder / _NAMES).write_bytes(msgspec.json.encode(list(rows)))

    key = _key(session, model, reference, "named outputs", {"dataset": dataset.digest})
    entry = session.cache.entry(key, build, label=f"reference outputs of {model.name}")
    names = msgspec.json.decode((entry.path / _NAMES).read_bytes(), type=list[str])
    return {name: np.load(entry.path / f"{number:04}.npy", mmap_mode="r") for number, name in enumerate(names)}


def _key(session: Session, model: Model, reference: Variant, what: str, more: dict[str, Scalar]) -> str:
    return artefact_key(
        model.digest,
        f"{what} of {reference.accelerator}",
        {"signature": reference.options["signature"], **more},
        versions=session.versions(reference.accelerator),
        hardware=session.hardware(reference.accelerator),
    )
