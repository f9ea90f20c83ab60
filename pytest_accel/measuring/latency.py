"""How long does one call take? The phases of one launch, from loading to the steady state, as a `Measurement`.

How many calls are made follows from what has to be shown: each percentile needs its own number at a given confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec

from pytest_accel import stats
from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Conditions, Measurement, Phases
from pytest_accel.machine.conditions import ForeignLoad, conditions
from pytest_accel.machine.throttling import Throttling

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets, Variant
    from pytest_accel.processes.client import Checked, LoadShape, WarmUp, WorkerClient
    from pytest_accel.session.candidate import LoadedModel
    from pytest_accel.worker.accelerator import Arrays

#: CHECKS is the number of timed calls whose outputs are compared with the validated ones.
CHECKS = 4
#: FEWEST_CALLS is the number of calls that are made in any case, for a throughput and a median worth recording.
FEWEST_CALLS = 100


@dataclass(frozen=True)
class Load:
    """What load to put on the candidate. ``batches`` are inputs of one call each."""

    shape: LoadShape
    batches: Sequence[Arrays]
    items_per_call: int
    #: Calls in flight of a multi_stream, or lanes of a server.
    concurrency: int = 1
    #: Calls a second that arrive at a server.
    rate: float | None = None

    @classmethod
    def of(cls, variant: Variant, batches: Sequence[Arrays]) -> Load:
        """Return the load that a variant's options ask for."""
        return cls(
            shape=cast("LoadShape", variant.load_shape),
            batches=batches,
            items_per_call=variant.batch_size,
            concurrency=variant.concurrency,
            rate=variant.rate,
        )

    def traffic(self, seed: int) -> dict[str, float]:
        """Return what a worker's client takes for this shape; ``seed`` draws the arrivals at a server."""
        if self.shape == "server" and self.rate is not None:
            return {"concurrency": self.concurrency, "rate": self.rate, "seed": seed}
        return {"concurrency": self.concurrency} if self.shape == "multi_stream" else {}


def planned_calls(budgets: Budgets, confidence: float, looks: int) -> int:
    """Enough calls to pass every latency limit with a few misses, at the confidence of each look."""
    each = stats.per_look_confidence(confidence, looks)
    return max([FEWEST_CALLS, *(stats.planned_samples(p, each) for p in budgets.latency_limits_ms)])


def warm_up(client: WorkerClient, *, max_s: float = 30.0) -> WarmUp:
    """Call until the latency is steady; a model that never gets there is given up on after ``max_s``."""
    return client.warm_up(min_calls=10, min_s=0.2, max_s=max_s, window=10)


class Steady:
    """A launch brought to its steady state, which can be timed once, or again with more calls.

    Made right after loading, so that the first inference is the first one.
    """

    def __init__(self, loaded: LoadedModel, load: Load) -> None:
        self._loaded = loaded
        self._load = load
        self._measurements = 0
        #: Outputs of some timed calls, to be compared with validated ones.
        self.checked: list[Checked] = []
        loaded.session.tell(f"warming up {loaded.candidate}")
        loaded.client.stage(load.batches)
        self._cold = warm_up(loaded.client)

    def measure(self, calls: int, load: Load | None = None) -> Measurement:
        """Time the steady phase, under another load if one is given, of the same batches.

        Raises `UsageError` beforehand when that cannot fit the deadline.
        """
        session, client, load = self._loaded.session, self._loaded.client, load or self._load
        step = f"measuring {self._loaded.candidate}"
        session.tell(step, f"{calls} calls")
        warm = warm_up(client)  # what was done since the last warm-up may have cooled it
        session.tell(step, f"{calls} calls", lasts_s=self._required_s(calls, warm, load))
        machine = session.machine(self._loaded.candidate.variant.accelerator)
        foreign_load, throttling = ForeignLoad(machine), Throttling(machine)
        self._measurements += 1  # the arrivals of an extension are others
        traffic = load.traffic(seed=self._measurements)
        timed = client.measure(load.shape, calls=calls, checks=CHECKS, **traffic)
        self.checked += timed.checked
        held_back = throttling.causes()
        around = conditions(machine, in_process=session.settings.in_process, foreign_load_cores=foreign_load.cores())
        return Measurement(
            load_shape=load.shape,
            latencies_ns=timed.latencies_ns,
            waits_ns=timed.waits_ns,
            concurrency=load.concurrency,
            rate=load.rate,
            items_per_call=load.items_per_call,
            wall_s=timed.wall_ns / 1e9,
            phases=self._phases(warm),
            lag1_autocorrelation=stats.lag1_autocorrelation(timed.latencies_ns),
            host_memory_mb=timed.host_memory_mb,
            device_memory_mb=timed.device_memory_mb,
            parts_ms=timed.parts_ms,
            outputs_checked=len(timed.checked),
            conditions=msgspec.structs.replace(
                around,
                tracing=timed.conditions.tracing or around.tracing,
                device_state=timed.conditions.device_state,
                throttled=_joined(timed.conditions.throttled, held_back),
            ),
        )

    def extend(self, measurement: Measurement, calls: int, load: Load | None = None) -> Measurement:
        """Return the measurement with more calls of the same launch. What disturbed either part disturbs both."""
        more = self.measure(calls, load)
        latencies_ns = measurement.latencies_ns + more.latencies_ns
        return msgspec.structs.replace(
            more,
            latencies_ns=latencies_ns,
            waits_ns=measurement.waits_ns + more.waits_ns,
            wall_s=measurement.wall_s + more.wall_s,
            lag1_autocorrelation=stats.lag1_autocorrelation(latencies_ns),
            outputs_checked=measurement.outputs_checked + more.outputs_checked,
            phases=msgspec.structs.replace(more.phases, steady=measurement.phases.steady and more.phases.steady),
            conditions=_of_both(measurement.conditions, more.conditions),
        )

    def _required_s(self, calls: int, warm: WarmUp, load: Load) -> float:
        """Return about how many seconds the calls take. Raises `UsageError` when that cannot fit the deadline."""
        # Lanes may share the same cores, so that more of them need not be faster.
        needed_s = max(calls * warm.seconds / warm.calls, calls / load.rate if load.rate is not None else 0.0)
        allowed_s = self._loaded.session.settings.run_timeout_s
        if needed_s > allowed_s:
            raise UsageError(
                f"{calls} calls are needed and would take about {needed_s:.0f} s, but --accel-run-timeout allows "
                f"{allowed_s:.0f} s; raise it, or judge a lower percentile"
            )
        return needed_s

    def _phases(self, warm: WarmUp) -> Phases:
        return Phases(
            compile_s=self._loaded.candidate.artefact.compile_s,
            compile_cached=self._loaded.candidate.cached,
            load_s=self._loaded.load_s,
            first_inference_ms=self._cold.first_inference_ns / 1e6,
            warm_up_calls=self._cold.calls + warm.calls,
            warm_up_s=self._cold.seconds + warm.seconds,
            steady=warm.steady,
        )


def _of_both(earlier: Conditions, later: Conditions) -> Conditions:
    """Return the conditions of a measurement in two parts: all that disturbed, and the larger foreign load."""
    return msgspec.structs.replace(
        later,
        tracing=_joined(earlier.tracing, later.tracing),
        throttled=_joined(earlier.throttled, later.throttled),
        foreign_load_cores=max(earlier.foreign_load_cores or 0.0, later.foreign_load_cores or 0.0),
    )


def _joined(*texts: str) -> str:
    """Return clauses joined by semicolons, each once."""
    return "; ".join(dict.fromkeys(clause for text in texts for clause in text.split("; ") if clause))
