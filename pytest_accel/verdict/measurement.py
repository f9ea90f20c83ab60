"""Can the measurement be believed?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_accel.facts.verdicts import Verdict
from pytest_accel.verdict.plausibility import disturbances, implausibilities, mislabelled, others_were_busy

if TYPE_CHECKING:
    from pytest_accel.facts.fact import OptionValue, Scalar
    from pytest_accel.facts.records import Measurement

_NOTHING: Mapping[str, Scalar] = MappingProxyType({})


def judge_measurement(
    measurement: Measurement | None,
    *,
    peak_flops: float | None = None,
    difference: str = "",
    asked: Mapping[str, OptionValue] = _NOTHING,
    identity: Mapping[str, Scalar] = _NOTHING,
) -> list[Verdict]:
    """Return whether the measurement can be believed. ``difference`` says how a timed output was wrong, if so.

    ``asked`` are the variant's options, ``identity`` is what the handle that was used says of itself.
    """
    if measurement is None or not measurement.latencies_ns:
        return [Verdict(kind="not-measured", question="measurement", summary="Not a single call was timed.")]
    reasons = (*mislabelled(asked, identity), *implausibilities(measurement, peak_flops))
    if difference:
        reasons = (f"what was timed is not what was checked: {difference}", *reasons)
    notes = _circumstances(measurement)
    if reasons:
        summary = f"The measurement cannot be true: {'; '.join(reasons)}."
        return [Verdict(kind="not-measured", question="measurement", summary=summary, details=notes)]
    disturbed = disturbances(measurement)
    if disturbed:
        summary = f"The measurement decides nothing about speed: {'; '.join(disturbed)}."
        return [Verdict(kind="inconclusive", question="measurement", summary=summary, details=notes)]
    calls = len(measurement.latencies_ns)
    summary = f"{calls} calls in {measurement.wall_s:.3g} s, {measurement.throughput:.4g} items/s."
    return [Verdict(kind="pass", question="measurement", summary=summary, details=notes)]


def _circumstances(measurement: Measurement) -> tuple[str, ...]:
    conditions, notes = measurement.conditions, []
    if not measurement.outputs_checked:
        notes.append("No output of a timed call was compared with the validated ones.")
    if conditions.cpu_quota_cores is not None:
        notes.append(f"The CPU quota was {conditions.cpu_quota_cores:g} cores.")
    if others_were_busy(measurement):
        notes.append(f"Other processes used {conditions.foreign_load_cores:.1f} cores meanwhile.")
    if conditions.device_state:
        state = ", ".join(f"{name} {value}" for name, value in conditions.device_state.items())
        notes.append(f"At the end of the calls the device told: {state}.")
    if measurement.parts_ms:
        parts = ", ".join(f"{part} {ms:.3g} ms" for part, ms in measurement.parts_ms.items())
        notes.append(f"Of a typical call was no computing: {parts}.")
    return tuple(notes)
