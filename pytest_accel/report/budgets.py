"""Say what was measured of each budget that a test gave, in the budget's own unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pytest_accel import stats
from pytest_accel.verdict import peak_memory_mb, score_beside_reference

if TYPE_CHECKING:
    from pytest_accel.facts.records import TestRecord


class Budget(NamedTuple):
    """One budget of a test: its limit, and what was measured; None where nobody knows that."""

    name: str
    limit: float
    measured: float | None


def budgets(record: TestRecord) -> Iterator[Budget]:
    """Give every budget that the test gave."""
    for name, limit in msgspec.structs.asdict(record.budgets).items():
        if limit is not None:
            yield Budget(name, limit, MEASURED[name](record))


def _percentile_ms(quantile: float) -> Callable[[TestRecord], float | None]:
    def measured(record: TestRecord) -> float | None:
        if record.measurement is None:
            return None
        return stats.nearest_rank(sorted(record.measurement.latencies_ns), quantile) / 1e6

    return measured


def _throughput(record: TestRecord) -> float | None:
    return None if record.measurement is None else record.measurement.throughput


def _accuracy_drop(record: TestRecord) -> float | None:
    """Give the drop of the score; without labels or a metric, the share of changed answers stands for it."""
    if record.accuracy is None:
        return None
    score = score_beside_reference(record.accuracy)
    if score is not None:
        return score.reference - score.value
    return None if record.accuracy.agreement is None else 1.0 - record.accuracy.agreement


def _score(record: TestRecord) -> float | None:
    score = None if record.accuracy is None else score_beside_reference(record.accuracy)
    return None if score is None else score.value


def _flips(record: TestRecord) -> float | None:
    """Count the lost answers, or give their share where the limit is one."""
    accuracy, limit = record.accuracy, record.budgets.max_flips
    if accuracy is None or accuracy.agreement is None:
        return None
    return accuracy.flips_lost / accuracy.samples if isinstance(limit, float) and limit < 1.0 else accuracy.flips_lost


def _error_ratio(record: TestRecord) -> float | None:
    return None if record.accuracy is None else record.accuracy.error_ratio


def _regression(record: TestRecord) -> float | None:
    return None if record.ratio is None else record.ratio.estimate - 1.0


def _creep(record: TestRecord) -> float | None:
    ratio = None if record.creep is None else record.creep.ratio
    return None if ratio is None else ratio.estimate - 1.0


def _on_device(record: TestRecord) -> float | None:
    return None if record.placement is None else record.placement.on_device


def _memory_mb(record: TestRecord) -> float | None:
    memory_mb, _ = peak_memory_mb(record.measurement)
    return memory_mb


def _artefact_mb(record: TestRecord) -> float | None:
    return None if record.artefact is None else record.artefact.size_mb


def _compile_s(record: TestRecord) -> float | None:
    return None if record.artefact is None else record.artefact.compile_s


def _load_s(record: TestRecord) -> float | None:
    return None if record.measurement is None else record.measurement.phases.load_s


#: MEASURED gives what was measured of each budget.
MEASURED: Mapping[str, Callable[[TestRecord], float | None]] = {
    "p50_ms": _percentile_ms(0.5),
    "p90_ms": _percentile_ms(0.9),
    "p95_ms": _percentile_ms(0.95),
    "p99_ms": _percentile_ms(0.99),
    "p999_ms": _percentile_ms(0.999),
    "min_throughput": _throughput,
    "max_accuracy_drop": _accuracy_drop,
    "min_accuracy": _score,
    "max_flips": _flips,
    "max_error_ratio": _error_ratio,
    "max_regression": _regression,
    "max_creep": _creep,
    "min_on_device": _on_device,
    "max_memory_mb": _memory_mb,
    "max_artefact_mb": _artefact_mb,
    "max_compile_s": _compile_s,
    "max_load_s": _load_s,
}
