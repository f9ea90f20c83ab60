from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_accel.commands.offers import Offer, offers
from pytest_accel.commands.prices import PRICES, Price, usd_per_million, with_own
from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Hardware, RunRecord, TestRecord, Variant
from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.report.record import SCHEMA, to_json
from tests.unit import facts
from tests.unit.commands.conftest import Ran
from tests.unit.verdict.test_article_tables import ROWS, TABLES

RunCommand = Callable[..., Ran]


def verdict(kind: VerdictKind = "pass", question: Any = "sla", summary: str = "p99 holds") -> Verdict:
    return Verdict(kind=kind, question=question, summary=summary)


def checked(
    accelerator: str, items_per_s: float, *verdicts: Verdict, on: str | None = "c5.xlarge", **identity: Any
) -> TestRecord:
    """A check whose calls took a second altogether."""
    return facts.record(
        variant=Variant(accelerator=accelerator, options={}),
        hardware=Hardware(fingerprint=f"{on}-{identity}", identity={"instance_type": on, **identity}),
        measurement=facts.measurement(latencies_ns=[10_000_000] * 100, items_per_call=1, wall_s=100 / items_per_s),
        verdicts=verdicts or (verdict(),),
    )


def run_of(*tests: TestRecord) -> RunRecord:
    return RunRecord(schema=SCHEMA, version="1", started="2026-11-23", duration_s=1.0, tests=tests, absent={})


def offered(*tests: TestRecord, **own: float) -> list[Offer]:
    return offers([run_of(*tests)], with_own(own))


@pytest.mark.parametrize("name", ROWS)
def test_the_articles_rows_cost_what_their_time_says(name: str) -> None:
    row = ROWS[name]
    # The host's hour, and the accelerator's as it was published.
    types = [row["instance_type"], *([TABLES["elastic_inference"]["published_as"]] if name == "ei_8" else [])]
    usd_per_hour = sum(PRICES[name].usd_per_hour for name in types)
    cost = usd_per_million(usd_per_hour, TABLES["images"] / row["timed_s"])
    assert cost == pytest.approx(row["usd_per_million"], abs=5e-5)


def test_the_cheapest_that_passes_comes_first_although_another_is_faster() -> None:
    cheap, fast, broken = (
        checked("cpu", 20.0, on="c5.xlarge"),
        checked("gpu-trt", 40.0, on="g4dn.xlarge"),
        checked("inf1", 1000.0, verdict("sla-breach", summary="p99 > 7 ms"), on="inf1.xlarge"),
    )
    found = offered(fast, broken, cheap)
    assert [(offer.variant, offer.advisable) for offer in found] == [("cpu", True), ("gpu-trt", True), ("inf1", False)]
    assert found[0].usd_per_million == pytest.approx(0.17 * 1e6 / 3600 / 20)
    assert found[2].against == "sla-breach: p99 > 7 ms"


@pytest.mark.parametrize(
    ("kind", "question", "advisable"),
    [
        ("inaccurate", "accuracy", False),
        ("inconclusive", "sla", False),
        ("inconclusive", "measurement", False),
        ("not-measured", "placement", False),
        ("incomparable", "accuracy", True),
        ("regressed", "regression", True),
        ("no-baseline", "regression", True),
    ],
)
def test_accuracy_and_limits_have_to_hold_and_a_baseline_does_not(
    kind: VerdictKind, question: str, advisable: bool
) -> None:
    (offer,) = offered(checked("cpu", 20.0, verdict(), verdict(kind, question)))
    assert offer.advisable is advisable


def test_a_variant_that_was_refused_costs_nothing_and_is_not_advised() -> None:
    (offer,) = offered(facts.record(measurement=None, verdicts=(verdict("refused", "measurement", "no operator"),)))
    assert (offer.usd_per_million, offer.against) == (None, "refused")


def test_an_attached_accelerator_is_paid_for_too_and_both_sources_are_told() -> None:
    (offer,) = offered(checked("eia", 100.0, on="c5.2xlarge", accelerator_type="eia2.large"))
    assert offer.price == Price(0.34 + 0.24, f"{PRICES['c5.2xlarge'].source}; {PRICES['eia2.large'].source}")
    assert offer.runs_on == "c5.2xlarge + eia2.large"


def test_a_price_of_ones_own_replaces_the_tables_and_fills_its_gaps() -> None:
    endpoint = checked("sagemaker", 10.0, on="ml.c5.xlarge")
    assert offered(endpoint)[0].unpriced == ("ml.c5.xlarge",)
    assert not offered(endpoint)[0].advisable
    (priced,) = offered(endpoint, **{"ml.c5.xlarge": 0.36})
    assert priced.usd_per_million == pytest.approx(10.0)
    assert priced.price == Price(0.36, "as given")


def test_an_unknown_instance_type_has_no_price() -> None:
    (offer,) = offered(checked("cpu", 10.0, on=None, accelerator_type="eia2.large"))
    assert (offer.price, offer.runs_on) == (None, "None-{'accelerator_type': 'eia2.large'}")


def test_a_later_run_counts() -> None:
    runs = [run_of(checked("cpu", 10.0)), run_of(checked("cpu", 20.0))]
    (offer,) = offers(runs, PRICES)
    assert offer.throughput == pytest.approx(20.0)


@pytest.mark.parametrize("price", [0.0, -1.0])
def test_nothing_is_free(price: float) -> None:
    with pytest.raises(UsageError, match="dollars an hour are more than 0"):
        with_own({"c5.xlarge": price})


def test_every_price_says_where_and_when_it_is_from() -> None:
    assert all(price.usd_per_hour > 0 for price in PRICES.values())
    dated = [price for price in PRICES.values() if any(character.isdigit() for character in price.source)]
    assert len(dated) == len(PRICES) - 3, "all but Elastic Inference's second generation, which says that it is not"


def test_the_command_names_the_cheapest_and_what_keeps_others_out(run: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(to_json(run_of(checked("cpu", 20.0), checked("gpu-trt", 10.0, on="g9.xlarge"))))
    ran = run("advise", file)
    assert ran.status == 0
    assert ran.lines[0] == (
        "resnet50: cpu on c5.xlarge is the cheapest that passes: 2.361 $ a million items, at 0.17 $ an hour "
        "(Apache Libcloud's price list, 2023-08-06)"
    )
    assert ran.lines[2].split()[:5] == ["cpu", "c5.xlarge", "2.361", "20", "0.17"]
    assert "unknown: --price g9.xlarge=USD" in ran.lines[3]
    assert run("advise", file, "--price", "g9.xlarge=0.01").lines[0].startswith("resnet50: gpu-trt on g9.xlarge is the")


def test_the_command_tells_when_nothing_passes_and_how_a_machine_gets_a_price(run: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(to_json(run_of(checked("cpu", 20.0, on=None))))
    ran = run("advise", file)
    assert (ran.status, ran.lines[0]) == (1, "resnet50: nothing passes whose cost is known")
    assert "measure with accel_instance_type set" in ran.lines[2]


def test_a_host_without_an_instance_type_is_named(run: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(to_json(run_of(msgspec.structs.replace(checked("cpu", 20.0, on=None), host="me@gpu-box"))))
    ran = run("advise", file)
    assert "on me@gpu-box" in ran.lines[2]
    assert "unknown: me@gpu-box tells no instance type" in ran.lines[2]


def test_the_command_gives_json(run: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(to_json(run_of(checked("cpu", 20.0))))
    (offer,) = json.loads(run("advise", file, "--json").out)
    assert (offer["variant"], offer["price"]["source"]) == ("cpu", "Apache Libcloud's price list, 2023-08-06")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--price", "c5.xlarge"), "is not a number"),
        (("--price", "=3"), "is not TYPE=USD"),
        (("--price", "c5.xlarge=0"), "dollars an hour are more than 0"),
        ((), "no-such-run.json: No such file"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(run: RunCommand, words: tuple[str, ...], message: str) -> None:
    ran = run("advise", "no-such-run.json", *words)
    assert ran.status == 2
    assert message in ran.err


def test_what_was_compiled_and_not_run_is_not_advised_and_hides_no_measurement() -> None:
    measured = checked("cpu", 20.0)
    same = {"variant": measured.variant, "hardware": measured.hardware}
    (offer,) = offered(measured, facts.compiled(**same))
    assert offer.advisable
    assert offer.throughput == pytest.approx(20.0)
    (alone,) = offered(facts.compiled(**same))
    assert (alone.advisable, alone.against) == (False, "compiled and not run")
    broken = (verdict("sla-breach", "resources"),)
    assert offered(facts.compiled(**same, verdicts=broken))[0].against == "sla-breach"
