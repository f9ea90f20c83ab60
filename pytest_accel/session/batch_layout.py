"""Which axis of each output is the batch, and may samples be computed in other company? Found out by running a model.

`pytest_accel.worker.formats.batch_axes` reads axes off a signature, which knows the inputs. It may be wrong about
outputs: a mean over the batch has none, and how many boxes a detector finds depends on the data. So the reference runs
the first samples in two batch sizes, where it can. It also runs them twice in one size, because a model that draws
random numbers or keeps a state has no answer that others could be held against.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pytest_accel.facts.errors import DeadlineExceeded, WorkerCrashed, WorkerError
from pytest_accel.facts.fact import Fact
from pytest_accel.session.compilation import compile_candidate

if TYPE_CHECKING:
    from pytest_accel.facts.records import Signature
    from pytest_accel.inputs.dataset_elements import Array
    from pytest_accel.inputs.datasets import Batch, Dataset
    from pytest_accel.session.candidate import Candidate, LoadedModel
    from pytest_accel.worker.accelerator import Arrays

#: LARGE_BATCH is the number of samples that the reference computes in one call, where that changes no output.
LARGE_BATCH = 32
#: LARGE_BATCH_BYTES is the most bytes of inputs of such a call.
LARGE_BATCH_BYTES = 64e6
#: LARGEST_MB is the size of an artefact beyond which the model is not compiled for another batch to find its axes out.
LARGEST_MB = 500.0
#: SAME_RTOL is how far outputs of the same sample in other company may differ: by rounding, as a share of the largest
#: output.
SAME_RTOL = 1e-4
#: DRAWS is said of a model that draws random numbers.
DRAWS = "the model is not deterministic: the reference gives other outputs each time that it gets the same inputs"
#: REMEMBERS is said of a model that keeps a state from call to call, or draws from a generator with a seed.
REMEMBERS = (
    "the model is not deterministic from call to call: its answer depends on earlier calls, as with a state that it "
    "keeps or a generator with a seed"
)


class BatchLayout(Fact, frozen=True, kw_only=True):
    """What running a model tells about its outputs.

    ``axes`` has the axis of the batch by output, None for an output that cannot be split into samples. ``any_company``
    says that a sample has the same outputs in every batch. ``varying`` names the outputs that differ between two calls
    with the same inputs, and ``unrepeatable`` says why; both are empty where none do.
    """

    axes: dict[str, int | None]
    any_company: bool
    unrepeatable: str = ""
    varying: tuple[str, ...] = ()

    @property
    def in_rows(self) -> bool:
        """Whether every output can be computed sample by sample, in any batch."""
        return self.any_company and None not in self.axes.values()

    def without(self, names: AbstractSet[str]) -> BatchLayout:
        """Return the same for data with which these outputs cannot be split into samples."""
        axes = {name: None if name in names else axis for name, axis in self.axes.items()}
        return msgspec.structs.replace(self, axes=axes)


def find_layout(reference: Candidate, dataset: Dataset) -> BatchLayout:
    """Run the first samples of ``dataset`` twice, and once in a batch of another size."""
    first, *others = islice(dataset, 2)
    with reference.load_shared() as loaded:
        alone = _Call(loaded.predict(first.inputs), first.size)
        for batch in others:
            loaded.predict(batch.inputs)
        again = loaded.predict(first.inputs)
        declared = {spec.name: spec.batch_axis for spec in loaded.signature.outputs}
        free = takes_any_batch(loaded.signature)
        company = _in_company(loaded, dataset, first) if free else None
    if not free and reference.artefact.size_mb <= LARGEST_MB:
        company = _compiled_for_another(reference, dataset, first)
    axes = {name: _axis(name, alone, company, declared.get(name)) for name in alone.outputs}
    if varying := differing(again, alone.outputs):
        why = _why(reference, first, alone.outputs)
        return BatchLayout(axes=axes, any_company=False, unrepeatable=why, varying=varying)
    return BatchLayout(axes=axes, any_company=company is not None and _same_rows(alone, company, first.rows, axes))


def takes_any_batch(signature: Signature) -> bool:
    """Return whether one artefact takes batches of every size."""
    batches = [spec.shape[spec.batch_axis] for spec in signature.inputs if spec.batch_axis is not None]
    return bool(batches) and all(size is None for size in batches)


def large_batches(dataset: Dataset) -> Dataset:
    """Return the dataset in as large batches as a model that takes any batch computes at a time."""
    first = next(iter(dataset))
    sample_bytes = sum(array.nbytes for array in first.inputs.values()) / first.size
    size = min(LARGE_BATCH, int(LARGE_BATCH_BYTES // max(sample_bytes, 1)), dataset.samples)
    return dataset.in_batches_of(size) if size > first.size else dataset


def differing(outputs: Arrays, expected: Arrays) -> tuple[str, ...]:
    """Return the names of the outputs that are not the same, up to rounding."""
    return tuple(
        name
        for name, output in expected.items()
        if name not in outputs or outputs[name].shape != output.shape or not _close(outputs[name], output)
    )


@dataclass(frozen=True)
class _Call:
    """The outputs of one call of ``size`` samples."""

    outputs: Arrays
    size: int


def _in_company(loaded: LoadedModel, dataset: Dataset, first: Batch) -> _Call | None:
    """Call a model that takes any number of samples with another one: many, where that is more."""
    size = next(iter(large_batches(dataset))).size
    return _called(loaded, dataset, first, size if size != first.size else _other_size(first))


def _compiled_for_another(reference: Candidate, dataset: Dataset, first: Batch) -> _Call | None:
    """Call the model after compiling it for another batch; None where it cannot be."""
    size, variant = _other_size(first), reference.variant
    another = msgspec.structs.replace(variant, options={**variant.options, "batch_size": size})
    try:
        compiled = compile_candidate(reference.session, reference.model, another)
        with compiled.load_shared() as loaded:
            return _called(loaded, dataset, first, size)
    except WorkerError:  # it was exported for one batch
        return None


def _called(loaded: LoadedModel, dataset: Dataset, first: Batch, size: int) -> _Call | None:
    """Call with the first ``size`` samples, of which those of ``first`` are repeated where others do not fit."""
    try:
        rows = first.real.part(0, size) if size < first.size else next(iter(dataset.in_batches_of(size))).real
        return _Call(loaded.predict(rows.padded(size)), size)
    except (WorkerCrashed, DeadlineExceeded):
        raise
    except WorkerError:  # a model may call its batch free and still need one size
        return None


def _other_size(first: Batch) -> int:
    return 2 if first.size == 1 else 1


def _axis(name: str, alone: _Call, company: _Call | None, declared: int | None) -> int | None:
    """Return the axis that is as long as the batch in both calls; where there is one call, what the signature says."""
    output = alone.outputs[name]
    if company is None:
        fits = declared is not None and declared < output.ndim and output.shape[declared] == alone.size
        return declared if fits else None
    other = company.outputs.get(name)
    if other is None:
        return None
    expected = ((axis, (*output.shape[:axis], company.size, *output.shape[axis + 1 :])) for axis in range(output.ndim))
    fitting = (axis for axis, shape in expected if output.shape[axis] == alone.size and other.shape == shape)
    return next(fitting, None)


def _same_rows(alone: _Call, company: _Call, rows: int, axes: dict[str, int | None]) -> bool:
    """Return whether the samples that both calls have in common have the same outputs."""
    common = range(min(rows, company.size))
    return all(
        axis is None or _close(company.outputs[name].take(common, axis), output.take(common, axis))
        for name, output in alone.outputs.items()
        for axis in [axes[name]]
    )


def _close(output: Array, expected: Array) -> bool:
    if output.dtype.kind not in "fc":
        return np.array_equal(output, expected)
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max()) if finite.size else 0.0
    return np.allclose(output, expected, rtol=SAME_RTOL, atol=SAME_RTOL * largest, equal_nan=True)


def _why(reference: Candidate, first: Batch, alone: Arrays) -> str:
    """Return why the model does not repeat itself: in a new process a state is as it was, and chance is not."""
    with reference.load() as loaded:
        return DRAWS if differing(loaded.predict(first.inputs), alone) else REMEMBERS
