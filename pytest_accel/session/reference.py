"""The reference: the uncompiled FP32 model in its own framework, which says what a model takes and what is right.

Its outputs are computed once for a model, a dataset and a framework version, and kept in the cache like an artefact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Signature, Variant
from pytest_accel.session.batch_layout import BatchLayout, find_layout, large_batches, takes_any_batch
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.expected_outputs import Call, ExpectedOutputs, write_calls, write_rows
from pytest_accel.store.cache import cache_key

if TYPE_CHECKING:
    from pytest_accel.inputs.datasets import Dataset
    from pytest_accel.inputs.models import Model
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.session.session import Session


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
        """What the uncompiled model takes and gives, in batches of any size; known before any variant is compiled."""
        key = self._key("signature")
        return self._session.cache.value(key, Signature, self._ask, label=f"signature of {self._model.name}")

    @cached_property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that the uncompiled model has itself, in the names that runtimes give to them."""
        key = self._key("precisions")
        label = f"precisions of {self._model.name}"
        return self._session.cache.value(key, tuple[str, ...], self._ask_precisions, label=label)

    def outputs(self, dataset: Dataset) -> ExpectedOutputs:
        """Return the reference's outputs for every call of the dataset.

        Rows are computed once for all batch sizes. What cannot be split into samples, or depends on its company, is
        computed in the calls of the variant.
        """
        layout = self._layout(dataset)
        if layout.in_rows:
            rows = self._expected("rows", partial(self._compute_rows, dataset, layout), dataset)
            if not rows.unsplit:
                return rows
            layout = layout.without(rows.unsplit)
        compute = partial(self._compute_calls, dataset, layout)
        return self._expected("calls", compute, dataset, batch_size=str(self.variant.batch_size))

    def _layout(self, dataset: Dataset) -> BatchLayout:
        """Return how outputs belong to samples, found out once for a dataset."""

        def find() -> BatchLayout:
            self._session.tell(f"asking the reference of {self._model.name} twice")
            return find_layout(self._compiled, dataset)

        key = self._key("batch layout", dataset=dataset.digest)
        return self._session.cache.value(key, BatchLayout, find, label=f"batch layout of {self._model.name}")

    def _expected(self, kind: str, compute: Callable[[Path], None], dataset: Dataset, **more: str) -> ExpectedOutputs:
        key = self._key(f"reference {kind}", dataset=dataset.digest, **more)
        entry = self._session.cache.entry(key, compute, label=f"reference outputs of {self._model.name}")
        return ExpectedOutputs.read(entry.path)

    @cached_property
    def _compiled(self) -> Candidate:
        return compile_candidate(self._session, self._model, self.variant)

    def _ask(self) -> Signature:
        compiled = self._compiled
        self._session.tell(f"asking what {self._model.name} takes")
        with compiled.load_shared() as loaded:
            return _for_any_batch(loaded.signature)

    def _ask_precisions(self) -> tuple[str, ...]:
        client = self._session.shared_client(self.variant.accelerator)
        return client.graph_precisions(self._compiled.folder, self.variant.options)

    def _compute_rows(self, dataset: Dataset, layout: BatchLayout, folder: Path) -> None:
        write_rows(folder, layout, self._calls(dataset, in_large_batches=True))

    def _compute_calls(self, dataset: Dataset, layout: BatchLayout, folder: Path) -> None:
        write_calls(folder, layout, self._calls(dataset, in_large_batches=False))

    def _calls(self, dataset: Dataset, *, in_large_batches: bool) -> Iterator[Call]:
        """Yield the outputs of each call, in large batches where the artefact takes them."""
        compiled, done = self._compiled, 0
        self._session.tell(f"loading the reference of {self._model.name}")
        with compiled.load_shared() as loaded:
            if in_large_batches and takes_any_batch(loaded.signature):
                dataset = large_batches(dataset)
            for batch in dataset:
                yield Call(loaded.predict(batch.inputs), batch.size, batch.rows)
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
    found = session.registry.find(accelerator)
    defaults = {**{name: option.default for name, option in found.options().items()}, **found.as_reference}
    shared = {name: variant.options[name] for name in ("batch_size", "signature")}
    return Variant(accelerator=accelerator, options={**defaults, **shared})


def _for_any_batch(signature: Signature) -> Signature:
    """Return the signature with a free batch, which the artefact may have fixed."""
    inputs = tuple(
        msgspec.structs.replace(
            spec, shape=tuple(None if axis == spec.batch_axis else size for axis, size in enumerate(spec.shape))
        )
        for spec in signature.inputs
    )
    return msgspec.structs.replace(signature, inputs=inputs)
