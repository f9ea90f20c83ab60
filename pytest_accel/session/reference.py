"""The reference: the uncompiled FP32 model in its own framework, which says what a model takes and what is right.

Its outputs are computed once for a model, a dataset and a framework version, and kept in the cache like an artefact.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Signature, Variant
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.store.cache import cache_key

if TYPE_CHECKING:
    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.inputs.models import Model
    from pytest_accel.session.candidate import Candidate, LoadedModel
    from pytest_accel.session.session import Session
    from pytest_accel.worker.accelerator import Arrays

#: LARGE_BATCH is the number of samples that the reference computes in one call, where that changes no output.
LARGE_BATCH = 32
#: LARGE_BATCH_BYTES is the most bytes of inputs of such a call.
LARGE_BATCH_BYTES = 64e6
#: SAME_RTOL is how far outputs of the same sample in other company may differ: by rounding, as a share of the largest
#: output.
SAME_RTOL = 1e-4
#: _NAMES is the file of an entry with the names of the outputs, whose arrays lie beside it by number.
_NAMES = "names.json"


class Reference:
    """The reference of a model for one variant, whose batch and signature say what a sample is.

    Raises `UsageError` when there is no reference for this kind of model, or none on this machine.
    """

    def __init__(self, session: Session, model: Model, variant: Variant) -> None:
        self._session = session
        self._model = model
        #: How the reference runs: its own defaults, but the batch and signature of the variant.
        self.variant = _reference_variant(session, model, variant)

    @classmethod
    def of(cls, candidate: Candidate) -> Reference:
        """Return the reference of a compiled model."""
        return cls(candidate.session, candidate.model, candidate.variant)

    @cached_property
    def signature(self) -> Signature:
        """What the uncompiled model takes and gives; known before any variant is compiled."""
        key = self._key("signature")
        return self._session.cache.value(key, Signature, self._ask, label=f"signature of {self._model.name}")

    @cached_property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that the uncompiled model has itself, in the names that runtimes give to them."""
        key = self._key("precisions")
        label = f"precisions of {self._model.name}"
        return self._session.cache.value(key, tuple[str, ...], self._ask_precisions, label=label)

    def outputs(self, dataset: Dataset) -> Arrays:
        """Return the reference's outputs for every sample, by output name; memory-mapped, first axis the sample."""
        key = self._key("reference outputs", dataset=dataset.digest)
        compute = partial(self._compute, dataset)
        entry = self._session.cache.entry(key, compute, label=f"reference outputs of {self._model.name}")
        names = msgspec.json.decode((entry.path / _NAMES).read_bytes(), type=list[str])
        return {name: np.load(entry.path / f"{number:04}.npy", mmap_mode="r") for number, name in enumerate(names)}

    @cached_property
    def _compiled(self) -> Candidate:
        return compile_candidate(self._session, self._model, self.variant)

    def _ask(self) -> Signature:
        compiled = self._compiled
        self._session.tell(f"asking what {self._model.name} takes")
        with compiled.load_shared() as loaded:
            return loaded.signature

    def _ask_precisions(self) -> tuple[str, ...]:
        client = self._session.shared_client(self.variant.accelerator)
        return client.graph_precisions(self._compiled.folder, self.variant.options)

    def _compute(self, dataset: Dataset, folder: Path) -> None:
        """Fill the folder of a new entry with the outputs."""
        batches: dict[str, list[Any]] = {}
        for outputs in self._predictions(dataset):
            for name, output in outputs.items():
                batches.setdefault(name, []).append(output)
        for number, parts in enumerate(batches.values()):
            np.save(folder / f"{number:04}.npy", np.concatenate(parts))
        (folder / _NAMES).write_bytes(msgspec.json.encode(list(batches)))

    def _predictions(self, dataset: Dataset) -> Iterator[Arrays]:
        """Yield the outputs of each batch, without those of padding."""
        compiled, done = self._compiled, 0
        self._session.tell(f"loading the reference of {self._model.name}")
        with compiled.load_shared() as loaded:
            for batch in _in_large_batches(loaded, dataset):
                yield {name: output[: batch.rows] for name, output in loaded.predict(batch.inputs).items()}
                done += batch.rows
                detail = f"{done} of {dataset.samples} samples"
                self._session.tell(
                    f"computing the reference of {self._model.name}", detail, share=done / dataset.samples
                )

    def _key(self, kind: str, **more: str) -> str:
        name = self.variant.accelerator
        return cache_key(
            kind,
            model=self._model.digest,
            accelerator=name,
            signature=self.variant.options["signature"],
            versions=self._session.versions(name),
            hardware=self._session.hardware(name).fingerprint,
            code=self._session.code_digest(name),
            **more,
        )


def _reference_variant(session: Session, model: Model, variant: Variant) -> Variant:
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


def _in_large_batches(loaded: LoadedModel, dataset: Dataset) -> Dataset:
    """Return the dataset in batches that the reference computes faster, where that changes no output.

    A model whose first axis is no batch, or whose samples influence each other, gives other outputs for other batches.
    So the first batch is computed both ways.
    """
    first = next(iter(dataset))
    sample_bytes = sum(array.nbytes for array in first.inputs.values()) / first.rows
    size = min(LARGE_BATCH, int(LARGE_BATCH_BYTES // max(sample_bytes, 1)), dataset.samples)
    if size <= first.rows or not all(spec.shape and spec.shape[0] is None for spec in loaded.signature.inputs):
        return dataset
    large = dataset.in_batches_of(size)
    alone, among_others = loaded.predict(first.inputs), loaded.predict(next(iter(large)).inputs)
    return large if _agree(alone, among_others, first.rows, size) else dataset


def _agree(alone: Arrays, among_others: Arrays, rows: int, size: int) -> bool:
    """Return whether each output has ``size`` rows, the first ``rows`` of which are those of ``alone``."""
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
