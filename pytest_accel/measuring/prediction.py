"""What a model's accuracy will be on its device, as far as another runtime can tell on this machine.

Some accelerators compile a file that is itself a model in the precision asked for: an ``.onnx`` with Q/DQ pairs, or in
FP16. The accelerator that runs the reference of such files runs it here. The device rounds in its own way, so this is a
prediction and no accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_accel.facts.errors import CompileFailed, UnfitInput, UsageError
from pytest_accel.inputs.datasets import open_dataset
from pytest_accel.inputs.models import FILE_KINDS, resolve
from pytest_accel.measuring.accuracy import predict
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.facts.records import Accuracy
    from pytest_accel.measuring.metric_of_calls import Metric
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.worker.accelerator import Source


@dataclass(frozen=True)
class Prediction:
    """The accuracy that ``runtime`` computed, or in ``why_not`` the reason why it did not."""

    accuracy: Accuracy | None = None
    runtime: str = ""
    why_not: str = ""


def predict_accuracy(
    candidate: Candidate,
    compiled: Source,
    data: Any,
    metric: Metric | None,
    *,
    input_shapes: Mapping[str, tuple[int, ...]],
) -> Prediction:
    """Run the file that was ``compiled`` through another runtime, and compare it with the candidate's reference.

    Raises `UnfitInput` and `DatasetError` where the test's own data do not fit.
    """
    try:
        runner = _runner(candidate, compiled)
        with runner.load() as loaded:
            dataset = open_dataset(
                data, loaded.signature, batch_size=candidate.variant.batch_size, input_shapes=input_shapes
            )
            return Prediction(predict(loaded, candidate, dataset, metric), runner.variant.accelerator)
    except (UsageError, CompileFailed) as error:  # there is no such runtime here, or it does not take the file
        return Prediction(why_not=str(error))
    except UnfitInput as error:
        if data is not None:
            raise
        return Prediction(why_not=f"the model does not take made-up inputs ({error})")


def _runner(candidate: Candidate, compiled: Source) -> Candidate:
    """Compile the file for the accelerator that runs the reference of its kind."""
    session = candidate.session
    kinds = {**FILE_KINDS, **session.registry.find(candidate.variant.accelerator).file_kinds}
    name, base = candidate.model.name, session.settings.rootdir
    model = resolve(compiled.path, name=name, cache=session.cache, base=base, kinds=kinds)
    return compile_candidate(session, model, Reference(session, model, candidate.variant).variant)
