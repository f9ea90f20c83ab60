"""Do the fields of a baseline agree with each other?

A baseline is edited and merged by people. Of two fields that say the same thing one may be changed and the other
forgotten, and what was compared with such a file would be compared with nothing that ever was.
"""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Iterator
from math import isclose, log
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel.facts.fingerprint import fingerprint_of
from pytest_accel.store.baseline import CompiledBaseline
from pytest_accel.store.files import PLAIN_NAME

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Duet, Hardware, Variant
    from pytest_accel.store.baseline import AnyBaseline, LaunchSummary

#: ROUNDED is how far two shares may differ, because a file keeps six digits of them.
ROUNDED = 1e-5
#: PACE_SLACK is how far the log pace of a launch may be from its two medians. A median of ratios is no ratio of
#: medians: 0.17 was seen beside busy processes, which may have slowed the blocks of either side down by half.
PACE_SLACK = 0.5
#: PACE_ERRORS is how many standard errors of the log pace are added to `PACE_SLACK`.
PACE_ERRORS = 10.0


class Disagreement(NamedTuple):
    """A field, such as ``launches[0].p90_ms``, and what it does not agree with."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


def disagreement(baseline: AnyBaseline) -> Disagreement | None:
    """Return the first two fields that contradict each other, None where all agree."""
    return next(_disagreements(baseline), None)


def _disagreements(baseline: AnyBaseline) -> Iterator[Disagreement]:
    yield from _date(baseline.saved)
    yield from _hardware(baseline.hardware)
    if not PLAIN_NAME.fullmatch(baseline.artefact.key):  # a key names a folder of the compile cache
        yield Disagreement("artefact.key", f"{baseline.artefact.key!r} is no key of the compile cache")
    if isinstance(baseline, CompiledBaseline):
        yield from _accuracy("prediction", baseline.prediction)
        return
    for number, launch in enumerate(baseline.launches):
        yield from _launch(f"launches[{number}]", launch, baseline.variant)
    for number, duet in enumerate(baseline.duets):
        yield from _duet(f"duets[{number}]", duet)
    yield from _accuracy("accuracy", baseline.accuracy)


def _date(saved: str) -> Iterator[Disagreement]:
    try:
        datetime.date.fromisoformat(saved)
    except ValueError:
        yield Disagreement("saved", f"{saved!r} is no day like 2026-11-23")


def _hardware(hardware: Hardware) -> Iterator[Disagreement]:
    try:
        fingerprint = fingerprint_of(hardware.identity)
    except KeyError as missing:
        yield Disagreement("hardware.identity", f"it has no {missing.args[0]}")
    else:
        if fingerprint != hardware.fingerprint:
            yield Disagreement("hardware.fingerprint", f"the fingerprint of this identity is {fingerprint}")


def _launch(field: str, launch: LaunchSummary, variant: Variant) -> Iterator[Disagreement]:
    if not launch.p50_ms <= launch.p90_ms <= launch.p99_ms:
        found = f"{launch.p50_ms:g}, {launch.p90_ms:g} and {launch.p99_ms:g}"
        yield Disagreement(f"{field}.p50_ms", f"p50, p90 and p99 have to grow, and are {found} ms")
    if launch.items_per_call != (variant.options.get("batch_size", launch.items_per_call) or 1):
        yield Disagreement(f"{field}.items_per_call", "it is not the variant's batch_size")
    if launch.load_shape != variant.options.get("load_shape", launch.load_shape):
        yield Disagreement(f"{field}.load_shape", "it is not the variant's load_shape")


def _duet(field: str, duet: Duet) -> Iterator[Disagreement]:
    for number, launch in enumerate(duet.launches):
        of_medians = log(launch.candidate_p50_ms) - log(launch.pacemaker_p50_ms)
        if not abs(launch.log_pace - of_medians) <= PACE_SLACK + PACE_ERRORS * launch.log_pace_error:
            problem = f"{launch.log_pace:g} is not the log of the medians' ratio, {of_medians:.4g}"
            yield Disagreement(f"{field}.launches[{number}].log_pace", problem)


def _accuracy(field: str, accuracy: Accuracy | None) -> Iterator[Disagreement]:
    if accuracy is None:
        return
    if accuracy.samples < 1:
        yield Disagreement(f"{field}.samples", "there is none")
    for name in ("agreement", "top1", "top5", "reference_top1", "reference_top5"):
        share = getattr(accuracy, name)
        if share is not None and not 0.0 <= share <= 1.0:
            yield Disagreement(f"{field}.{name}", f"{share:g} is no share, which is 0 to 1")
    if accuracy.right:
        yield from _right_answers(field, accuracy, accuracy.right)


def _right_answers(field: str, accuracy: Accuracy, right: str) -> Iterator[Disagreement]:
    """Compare the bit of each answer with the shares that were made of them."""
    try:
        packed = base64.b64decode(right, validate=True)
    except (binascii.Error, ValueError) as error:
        yield Disagreement(f"{field}.right", f"not base64: {error}")
        return
    if not 0 <= 8 * len(packed) - accuracy.samples < 8:
        yield Disagreement(f"{field}.right", f"{8 * len(packed)} bits do not hold {accuracy.samples} samples")
        return
    share = int.from_bytes(packed, "big").bit_count() / accuracy.samples
    if accuracy.top1 is None or not isclose(accuracy.top1, share, abs_tol=ROUNDED):
        yield Disagreement(f"{field}.top1", f"{share:.6g} of the answers are right by {field}.right")
    change = (accuracy.flips_lost - accuracy.flips_gained) / accuracy.samples
    reference = accuracy.reference_top1
    if reference is not None and not isclose(reference, share + change, abs_tol=ROUNDED):
        yield Disagreement(f"{field}.reference_top1", f"{share + change:.6g} by {field}.right and the flips")
