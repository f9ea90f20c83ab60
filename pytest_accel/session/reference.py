"""The reference: the uncompiled FP32 model in its own framework, which says what a model takes and what is right.

Its outputs are computed once for a model, a dataset and a framework version, and kept in the cache like an artefact.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Scalar, Signature, Variant
from pytest_accel.session.compilation import compile_candidate, renamed, shared
from pytest_accel.store.cache import artefact_key

if TYPE_CHECKING:
    from pytest_accel.inputs.dataset_elements import Arrays
    from pytest_accel.inputs.datasets import Batch, Dataset
    from pytest_accel.inputs.models import Model
    from pytest_accel.session.compilation import Running
    from pytest_accel.session.session import Session

#: Samples that the reference computes in one call where it can, and the most bytes of inputs of such a call.
LARGE_BATCH = 32
LARGE_BATCH_BYTES = 64e6
#: How far outputs of the same sample in other company may differ: by rounding, as a share of the largest output.
SAME_RTOL = 1e-4
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
        session.tell(f"asking what {model.name} takes")
        with shared(session, compiled) as loaded:
            (folder / _SIGNATURE).write_bytes(msgspec.json.encode(loaded.signature))

    key = _key(session, model, reference, "signature", {})
    entry = session.cache.entry(key, build, label=f"signature of {model.name}")
    return msgspec.json.decode((entry.path / _SIGNATURE).read_bytes(), type=Signature)


def reference_outputs(session: Session, model: Model, variant: Variant, dataset: Dataset) -> Arrays:
    """The reference's outputs for every sample, by output name; memory-mapped, first axis the sample."""
    reference = reference_variant(session, model, variant)

    def build(folder: Path) -> None:
        rows: dict[str, list[Any]] = {}
        compiled = compile_candidate(session, model, reference)
        session.tell(f"loading the reference of {model.name}")
        with shared(session, compiled) as loaded:
            done = 0
            for batch in _in_large_batches(loaded, dataset):
                for name, output in _predict(loaded, batch).items():
                    rows.setdefault(name, []).append(output[: batch.rows])
                done += batch.rows
                share = done / dataset.samples
                session.tell(
                    f"computing the reference of {model.name}", f"{done} of {dataset.samples} samples", share=share
                )
        for number, parts in enumerate(rows.values()):
            np.save(folder / f"{number:04}.npy", np.concatenate(parts))
        (folder / _NAMES).write_bytes(msgspec.json.encode(list(rows)))

    key = _key(session, model, reference, "named outputs", {"dataset": dataset.digest})
    entry = session.cache.entry(key, build, label=f"reference outputs of {model.name}")
    names = msgspec.json.decode((entry.path / _NAMES).read_bytes(), type=list[str])
    return {name: np.load(entry.path / f"{number:04}.npy", mmap_mode="r") for number, name in enumerate(names)}


def _in_large_batches(loaded: Running, dataset: Dataset) -> Dataset:
    """The dataset in batches that the reference computes faster, where that changes no output.

    A model whose first axis is no batch, or whose samples influence each other, gives other outputs for other batches.
    So the first batch is computed both ways.
    """
    first = next(iter(dataset))
    sample_bytes = sum(array.nbytes for array in first.inputs.values()) / first.rows
    size = min(LARGE_BATCH, int(LARGE_BATCH_BYTES // max(sample_bytes, 1)), dataset.samples)
    if size <= first.rows or not all(spec.shape and spec.shape[0] is None for spec in loaded.signature.inputs):
        return dataset
    large = dataset.in_batches_of(size)
    alone, among_others = _predict(loaded, first), _predict(loaded, next(iter(large)))
    return large if _agree(alone, among_others, first.rows, size) else dataset


def _predict(loaded: Running, batch: Batch) -> Arrays:
    (inputs,) = renamed([batch.inputs], loaded.signature)
    return loaded.launch.predict(inputs)


def _agree(alone: Arrays, among_others: Arrays, rows: int, size: int) -> bool:
    """Whether each output has ``size`` rows, the first ``rows`` of which are those of ``alone``."""
    return alone.keys() == among_others.keys() and all(
        output.ndim > 0
        and len(output) == size
        and output.shape[1:] == alone[name].shape[1:]
        and np.allclose(output[:rows], alone[name][:rows], rtol=SAME_RTOL, atol=SAME_RTOL * _largest(alone[name]))
        for name, output in among_others.items()
    )


def _largest(output: Any) -> float:
    finite = np.abs(output[np.isfinite(output)])
    return float(finite.max()) if finite.size else 0.0


def _key(session: Session, model: Model, reference: Variant, what: str, more: dict[str, Scalar]) -> str:
    return artefact_key(
        model.digest,
        f"{what} of {reference.accelerator}",
        {"signature": reference.options["signature"], **more},
        versions=session.versions(reference.accelerator),
        hardware=session.hardware(reference.accelerator),
    )
