from __future__ import annotations

import msgspec
import pytest

from pytest_accel import stats
from pytest_accel.facts.records import Creep, OutputErrors, TestRecord
from pytest_accel.report import quantities
from pytest_accel.report.quantities import PERCENTILES, Figure, Quantity, figures_of
from tests.unit import facts
from tests.unit.report.test_overview import RATIO

ACCURACY = facts.record().accuracy
#: All that a check may know.
QUANTITIES = [each for each in vars(quantities).values() if isinstance(each, Quantity)]


def accuracy_of(**changed: object) -> TestRecord:
    assert ACCURACY is not None
    return facts.record(accuracy=msgspec.structs.replace(ACCURACY, **changed))


def found(record: TestRecord) -> dict[str, Figure]:
    return {figure.quantity.name: figure for figure in figures_of(record, 0.95) if figure.percentile is None}


def test_every_percentile_that_can_have_a_limit_has_its_bounds_in_seconds() -> None:
    measurement = facts.measurement(latencies_ns=[1_000_000 * (1 + n % 100) for n in range(1000)])
    latencies = [figure for figure in figures_of(facts.record(measurement=measurement), 0.95) if figure.percentile]
    assert [figure.percentile for figure in latencies] == list(PERCENTILES)
    assert [figure.value for figure in latencies] == pytest.approx([0.05, 0.09, 0.095, 0.099, 0.1])
    bound = stats.quantile_bound([nanoseconds / 1e6 for nanoseconds in measurement.latencies_ns], 0.9, 0.95)
    assert bound.lower is not None
    assert bound.upper is not None
    assert (latencies[1].lower, latencies[1].upper) == pytest.approx((bound.lower / 1e3, bound.upper / 1e3))
    assert latencies[-1].upper is None, "a thousand calls are too few for one"


def test_throughput_has_bounds_on_both_sides() -> None:
    throughput = found(facts.record(measurement=facts.measurement()))["throughput"]
    assert throughput.lower is not None
    assert throughput.upper is not None
    assert throughput.lower < throughput.value < throughput.upper


def test_too_few_calls_have_no_bounds() -> None:
    few = facts.measurement(latencies_ns=[1_000_000] * 3)
    throughput = found(facts.record(measurement=few))["throughput"]
    assert (throughput.lower, throughput.upper) == (None, None)


def test_memory_is_counted_in_powers_of_two_and_files_are_not() -> None:
    figures = found(facts.record(measurement=facts.measurement(host_memory_mb=2.0)))
    assert figures["host_memory"].value == 2 * 2**20
    assert figures["device_memory"].value == 512 * 2**20
    assert figures["artefact_size"].value == pytest.approx(97.8e6)


def test_the_change_of_accuracy_has_the_bounds_of_the_drop_with_their_signs_turned() -> None:
    change = found(accuracy_of(top1=0.9, reference_top1=0.92, drop_interval=(-0.01, 0.05)))["top1_accuracy_change"]
    assert (change.lower, change.value, change.upper) == pytest.approx((-0.05, -0.02, 0.01))


def test_the_users_metric_and_the_error_of_the_worst_output_are_there() -> None:
    outputs = tuple(
        OutputErrors(name=name, max_abs=1.0, max_rel=1.0, normalised_l2=error, cosine=1.0, snr_db=None)
        for name, error in (("a", 0.1), ("b", 0.3))
    )
    figures = found(accuracy_of(metric_name="mAP", metric=0.5, reference_metric=0.75, outputs=outputs))
    assert (figures["metric"].value, figures["metric_change"].value) == (0.5, -0.25)
    assert figures["output_error"].value == 0.3


def test_the_ratio_has_its_interval() -> None:
    assert found(facts.record(ratio=RATIO))["relative_time"][1:4] == (1.25, 1.1, 1.4)
    creep = Creep(anchor=facts.baseline().compared("v1"), duet=facts.duet(), ratio=RATIO)
    assert found(facts.record(creep=creep))["time_since_anchor"][1:4] == (1.25, 1.1, 1.4)


def test_what_another_runtime_predicted_is_no_accuracy_of_the_device() -> None:
    figures = found(facts.compiled())
    assert figures.keys() == {
        "compile",
        "artefact_size",
        "on_device",
        "predicted_top1_accuracy",
        "predicted_agreement",
    }


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e307, 1e-307])
def test_a_number_that_no_file_can_hold_is_left_out(number: float) -> None:
    assert "metric" not in found(accuracy_of(metric_name="loss", metric=number))
    assert "agreement" in found(accuracy_of(metric_name="loss", metric=number))


def test_all_quantities_have_names_and_meanings_of_their_own() -> None:
    assert len({quantity.name for quantity in QUANTITIES}) == len({quantity.meaning for quantity in QUANTITIES})
    assert len({quantity.name for quantity in QUANTITIES}) == len(QUANTITIES)
    whole = facts.record(
        measurement=facts.measurement(host_memory_mb=1.0), ratio=RATIO, prediction=facts.record().accuracy
    )
    assert {figure.quantity for figure in figures_of(whole, 0.95)} < set(QUANTITIES)
