"""Can a measurement be true at all, and was it taken under conditions that let it speak?

Timing the dispatch of a call instead of its result is the classic way to publish a device beyond its physical peak. It
leaves traces: more operations per second than the device has, rates that scatter by half their mean, calls that
account for a fraction of the wall clock. Any of them refuses the measurement. So does a device other than the one that
was asked for: a published comparison took its accelerator's name from a list and measured the next one on it. What
merely slowed a measurement down, such as a tracer, leaves it undecided instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum, sqrt
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.verdicts import FAILING, Verdict

if TYPE_CHECKING:
    from pytest_accel.facts.fact import OptionValue, Scalar
    from pytest_accel.facts.records import Measurement

#: MAX_RATE_SPREAD is the largest standard deviation of the calls' rates over their mean. Slow outliers hardly move it,
#: impossibly fast calls do.
MAX_RATE_SPREAD = 0.5
#: MAX_RATE_RATIO is the largest mean of the calls' rates over the true rate (items over time); they drift apart when
#: some calls are impossibly fast.
MAX_RATE_RATIO = 1.2
#: MIN_BUSY is the least share of the wall clock that the calls of a single stream account for.
MIN_BUSY = 0.4
#: LOOP_SLACK_S is the number of seconds of each call that are left to the timing loop itself, which outweigh a call of
#: under a microsecond.
LOOP_SLACK_S = 20e-6
#: MATERIAL_LOAD_CORES is the number of cores that other processes may use before scattered rates are put down to them.
MATERIAL_LOAD_CORES = 0.5
#: MOSTLY_IDLE is the share of its lanes' time that a server computes, below which most of its calls follow a pause.
MOSTLY_IDLE = 0.4
#: NAMING_A_DEVICE are options that name a kind of device, which the identity of the handle that was used has too.
NAMING_A_DEVICE = ("instance_type", "accelerator_type")
#: CLOCK_SLACK is how many times the wall clock the calls may add up to, as slack for the clock itself.
CLOCK_SLACK = 1.01


def implausibilities(measurement: Measurement, peak_flops: float | None) -> tuple[str, ...]:
    """Return why the measurement cannot be true, a clause each; empty when nothing speaks against it.

    ``peak_flops`` is the most that the device can do in a second, in any precision that was used; None when unknown.
    """
    services_s = [service / 1e9 for service in measurement.services_ns]
    if min(services_s) <= 0.0 or measurement.wall_s <= 0.0:
        return ("the clock did not advance during a call",)
    return (
        *_beyond_peak(measurement, peak_flops),
        *(() if others_were_busy(measurement) else _doubts(measurement)),
        *_more_than_the_wall_clock(measurement),
    )


def mislabelled(asked: Mapping[str, OptionValue], identity: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Return where the handle that was used names another kind of device than the options do, a clause each."""
    return tuple(
        f"{name}={asked[name]!r} was asked for, and what was used says {identity[name]!r}"
        for name in NAMING_A_DEVICE
        if asked.get(name) is not None and identity.get(name) not in (None, asked[name])
    )


def disturbances(measurement: Measurement) -> tuple[str, ...]:
    """Return what keeps a true measurement from deciding anything about speed, a clause each."""
    conditions, found = measurement.conditions, []
    if not measurement.phases.steady:
        found.append(f"no steady state within {measurement.phases.warm_up_calls} warm-up calls")
    if conditions.tracing:
        found.append(f"{conditions.tracing} was tracing the worker")
    if conditions.in_process:
        found.append("the worker shared the test's process (--accel-in-process)")
    if conditions.throttled:
        found.append(f"the device was throttled: {conditions.throttled}")
    if others_were_busy(measurement) and measurement.latencies_ns:
        busy = f"while other processes used {conditions.foreign_load_cores:.1f} cores"
        found += [f"{busy}, {doubt}" for doubt in _doubts(measurement)]
    return tuple(found)


def uneven_load(foreign_load_cores: float) -> tuple[str, ...]:
    """Return what keeps launches beside the yardstick from deciding anything, a clause each.

    Both sides feel a neighbour, but not alike: with one of two cores busy, ResNet-50 was slowed 1.4 times as much as
    the yardstick was. The baseline's own artefact is slowed as the candidate is.
    """
    if foreign_load_cores < MATERIAL_LOAD_CORES:
        return ()
    busy = f"other processes used {foreign_load_cores:.1f} cores"
    return (f"{busy}, which slow the model and the yardstick by different amounts",)


def others_were_busy(measurement: Measurement) -> bool:
    """Return whether other processes used enough of the processor meanwhile to be what calls scatter by."""
    return (measurement.conditions.foreign_load_cores or 0.0) >= MATERIAL_LOAD_CORES


def unless_disturbed(verdict: Verdict, disturbed: Sequence[str]) -> Verdict:
    """Turn failures into undecided answers where a disturbance made the model look slower than it is.

    The reason stands in the sentence: many readers see that alone, and without its reason it would contradict itself.
    """
    if not disturbed or verdict.kind not in FAILING:
        return verdict
    summary = f"{verdict.summary} Not decided, because {'; '.join(disturbed)}."
    return msgspec.structs.replace(verdict, kind="inconclusive", summary=summary)


def _beyond_peak(measurement: Measurement, peak_flops: float | None) -> tuple[str, ...]:
    if measurement.flops_per_item is None or peak_flops is None:
        return ()
    flops = measurement.flops_per_item * max(measurement.throughput, _rate_of_the_calls(measurement))
    if flops <= peak_flops:
        return ()
    return (f"{flops / 1e12:.3g} TFLOP/s is beyond the device's peak of {peak_flops / 1e12:.3g} TFLOP/s",)


def _rate_of_the_calls(measurement: Measurement) -> float:
    """Return items per second of the timed calls one by one, which is what gets published where they were too short.

    A call that shares the device with others takes the longer, so that a call alone bounds them all.
    """
    calls = len(measurement.services_ns)
    return calls * measurement.items_per_call / (fsum(measurement.services_ns) / 1e9)


def _doubts(measurement: Measurement) -> tuple[str, ...]:
    """Return what speaks against a measurement, a clause each, unless other processes explain it."""
    return (*_scattered_rates(measurement), *_unaccounted_time(measurement))


def _scattered_rates(measurement: Measurement) -> tuple[str, ...]:
    if measurement.load_shape == "server" and _share_of_the_wall_clock(measurement) < MOSTLY_IDLE:
        return ()  # a processor falls asleep in a pause, and is slower for a while behind it
    rates = [measurement.items_per_call / max(service, 1) for service in measurement.services_ns]
    mean = fsum(rates) / len(rates)
    spread = sqrt(fsum((rate - mean) ** 2 for rate in rates) / len(rates)) / mean
    ratio = mean * fsum(1.0 / rate for rate in rates) / len(rates)
    if spread <= MAX_RATE_SPREAD or ratio <= MAX_RATE_RATIO:
        return ()
    return (
        f"the calls' rates scatter by {spread:.0%} of their mean, which is {ratio:.2f} times the true rate: "
        "some calls ended before their results were there, or the machine was badly disturbed",
    )


def _more_than_the_wall_clock(measurement: Measurement) -> tuple[str, ...]:
    share = _share_of_the_wall_clock(measurement)
    if share <= CLOCK_SLACK or measurement.load_shape == "offline":
        return ()
    of_lanes = f" of {measurement.concurrency} lanes" if measurement.concurrency > 1 else ""
    return (f"the calls add up to {share:.2f} times the wall clock{of_lanes}",)


def _unaccounted_time(measurement: Measurement) -> tuple[str, ...]:
    if measurement.load_shape != "single_stream":  # other shapes leave lanes idle
        return ()
    share = _share_of_the_wall_clock(measurement)
    if share + LOOP_SLACK_S * len(measurement.services_ns) / measurement.wall_s >= MIN_BUSY:
        return ()
    return (f"the calls account for {share:.0%} of the wall clock: most of the work was not timed",)


def _share_of_the_wall_clock(measurement: Measurement) -> float:
    return fsum(measurement.services_ns) / 1e9 / (measurement.concurrency * measurement.wall_s)
