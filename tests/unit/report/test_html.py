from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

from pytest_accel.facts.records import Budgets, Failure, Provenance, RunRecord, TestRecord
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.report.html import page
from pytest_accel.report.overview import Overview
from pytest_accel.store.history_entry import HistoryEntry
from tests.unit import facts
from tests.unit.report.test_history_series import Runs
from tests.unit.report.test_overview import RATIO, TEST, failure, record
from tests.unit.report.test_terminal import accuracy

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "pytest_accel" / "report" / "templates"
EVIL = "<script>alert('x')</script>\"'><img src=x>"
#: Elements that have no end.
VOID = {"meta", "link", "br", "img", "line", "path", "circle"}


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, its text, and whether all of them end."""

    def __init__(self, run: RunRecord, *more: RunRecord, history: Sequence[HistoryEntry] = ()) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.source = page(Overview.of([run, *more], history))
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and "style" not in self._open:
            self.texts.append(" ".join(data.split()))

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes[name] for found, attributes in self.elements if found == tag and name in attributes]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def full_run() -> RunRecord:
    """A run in which there is everything that a page can tell."""
    left_out = record("refused", accelerator="gpu", measurement=None)
    return facts.run(
        record("sla-breach", ratio=RATIO, accuracy=accuracy(top1=0.75, reference_top1=0.76)),
        record(accelerator="inf2", ratio=RATIO, accuracy=accuracy(top1=0.76, reference_top1=0.76)),
        left_out,
        absent={"inf1": "no inf1 device; run on an inf1 instance"},
        failures=(Failure(test=TEST, file="test_it.py", line=7, message="one\ntwo", details="Fatal"),),
        warnings=("nothing was saved",),
    )


def test_the_answers_are_in_the_order_in_which_they_are_asked() -> None:
    sections = ["models", "failures", "notes", "plots", "answers", "absent", "machines"]
    found = Page(full_run())
    assert found.texts[:3] == ["Failed: 1 of 3 tests – pytest-accel", "✗", "Failed: 1 of 3 tests"]
    assert [name for name in found.ids() if name in sections] == sections
    assert found.attributes("a", "href")[: len(sections)] == [f"#{name}" for name in sections]


def test_what_there_is_nothing_to_tell_of_has_no_heading() -> None:
    assert Page(facts.run()).ids() == []


def test_every_link_leads_somewhere_on_the_page() -> None:
    found = Page(full_run())
    assert {link.removeprefix("#") for link in found.attributes("a", "href")} <= set(found.ids())
    assert "#failure-1" in found.attributes("a", "href")
    assert max(Counter(found.ids()).values()) == 1


def test_nothing_is_fetched_and_nothing_runs() -> None:
    found = Page(full_run())
    assert not {"script", "iframe", "object", "img"} & {tag for tag, _ in found.elements}
    assert found.attributes("link", "href") == ["data:,"]
    assert "default-src 'none'" in found.attributes("meta", "content")[1]
    assert not re.search(r"https?:|@import|url\(|\bon\w+=", found.source)


def test_nothing_in_a_record_is_markup() -> None:
    verdict = Verdict(kind="sla-breach", question="sla", summary=EVIL, details=(EVIL,))
    evil = record(
        model=EVIL,
        verdicts=(verdict,),
        ratio=RATIO,
        versions={EVIL: EVIL},
        changes=(EVIL,),
        hardware=facts.T4.__class__(fingerprint=EVIL, identity={EVIL: EVIL}),
    )
    run = facts.run(
        evil,
        version=EVIL,
        absent={EVIL: EVIL},
        warnings=(EVIL,),
        failures=(Failure(test=EVIL, file=EVIL, line=1, message=EVIL, details=EVIL),),
    )
    plain = Page(facts.run(record(ratio=RATIO), failures=(failure(),)))
    found = Page(run)
    assert {tag for tag, _ in found.elements} - {tag for tag, _ in plain.elements} == set()
    assert sum(" ".join(EVIL.split()) in text for text in found.texts) >= 10
    known = {name for _, attributes in plain.elements for name in attributes}
    assert {name for _, attributes in found.elements for name in attributes} <= known


def test_tables_have_headings_and_captions_for_those_who_hear_them() -> None:
    found = Page(full_run())
    tags = Counter(tag for tag, _ in found.elements)
    assert tags["caption"] == tags["table"]
    assert set(found.attributes("th", "scope")) == {"col", "row"}
    assert len(found.attributes("th", "scope")) == tags["th"]
    assert all(found.attributes("svg", "aria-label"))
    assert len(found.attributes("svg", "role")) == tags["svg"]


def test_no_verdict_is_told_by_colour_alone() -> None:
    texts = Page(full_run()).texts
    rows = texts[texts.index("operators") :]
    assert [(rows[at - 1], rows[at]) for at in (rows.index("sla-breach"), rows.index("pass"))] == [
        ("✗", "sla-breach"),
        ("✓", "pass"),
    ]


def test_the_number_that_broke_its_limit_stands_out() -> None:
    verdict = Verdict(kind="sla-breach", question="sla", summary="Slow.", budget="p99_ms")
    classes = Page(facts.run(record(verdicts=(verdict,)))).attributes("td", "class")
    assert sum("over" in names for names in classes) == 1


def test_a_row_that_was_not_measured_gives_its_reason_across_the_table() -> None:
    found = Page(full_run())
    (span,) = found.attributes("td", "colspan")
    assert int(span) == len(found.attributes("th", "class"))
    assert "A sentence." in found.texts


def test_a_model_without_any_numbers_has_a_heading_for_its_reasons() -> None:
    refused = record("refused", measurement=None, placement=None, budgets=Budgets())
    found = Page(facts.run(refused))
    assert found.attributes("td", "colspan") == ["1"]
    assert found.texts[found.texts.index("variant") + 1] == "reason"


@pytest.mark.parametrize(
    ("changed", "explained"),
    [({"ratio": RATIO}, [True, True, False]), ({"measurement": None}, [False, False, False])],
    ids=["a ratio", "nothing measured"],
)
def test_only_columns_that_are_there_are_explained(changed: dict[str, Any], explained: list[bool]) -> None:
    texts = " ".join(Page(facts.run(record(**changed))).texts)
    assert [words in texts for words in ("column with ≤", "A ratio is", "A change is")] == explained


def test_a_failure_has_its_whole_message_with_its_lines() -> None:
    assert f"one\ntwo\nReproduce: pytest &#39;{TEST}&#39;</pre>" in Page(full_run()).source


def test_each_plot_that_says_something_is_there() -> None:
    labels = Page(full_run()).attributes("svg", "aria-label")
    assert labels[0] == "Ratios: cpu ×1.250 [1.100, 1.400]; inf2 ×1.250 [1.100, 1.400]; "
    assert labels[1].startswith("Throughput against top-1, %: cpu: 75.00%, 158.4/s; ")
    assert labels[2:] == [
        "cpu: p50 50 ms, p99 99 ms; limits p99\xa07\xa0ms",
        "inf2: p50 50 ms, p99 99 ms; limits p99\xa07\xa0ms",
    ]


@pytest.mark.parametrize(
    ("run", "explained"),
    [(full_run(), [True, True, True]), (facts.run(record()), [False, False, True])],
    ids=["all of them", "curves alone"],
)
def test_plots_that_are_there_are_explained_once(run: RunRecord, explained: list[bool]) -> None:
    texts = " ".join(Page(run).texts)
    sentences = ["A latency of ×1.1 is", "The best variants for throughput", "A curve of latencies shows"]
    assert [texts.count(sentence) for sentence in sentences] == explained


@pytest.mark.parametrize("tests", [(), (record("refused", measurement=None),)])
def test_a_run_without_measurements_has_a_page_without_plots(tests: tuple[TestRecord, ...]) -> None:
    found = Page(facts.run(*tests))
    assert found.attributes("svg", "role") == []
    assert "Plots" not in found.texts


def stepped(**changed: Any) -> list[HistoryEntry]:
    """Eight runs of the model on `cpu`, and eight slower ones."""
    runs = Runs()
    for nth in range(16):
        runs.add(f"B{nth}", 1.0 if nth < 8 else 1.05, "A", **{"variant": "cpu", **changed})
    return runs.entries


def test_the_history_of_what_was_measured_is_drawn_with_its_changes() -> None:
    found = Page(facts.run(record()), history=stepped())
    assert "#history" in found.attributes("a", "href")
    change = "from commit 08aaaaaaaa on 5 % slower"
    assert f"resnet50[cpu]: 16 runs; {change}" in found.attributes("svg", "aria-label")
    assert change in found.texts
    assert found.attributes("line", "class").count("interval") == 16
    assert (found.attributes("line", "class").count("change"), found.texts.count("+5 %")) == (1, 1)
    assert "2026-11-01, 08" + "a" * 8 + ", ×1.050, pass" in found.texts


def test_the_history_of_other_variants_and_single_runs_is_not_drawn() -> None:
    for history in (stepped(variant="gpu"), stepped(model="bert"), stepped(fingerprint="other"), stepped()[:1]):
        assert "history" not in Page(facts.run(record()), history=history).ids()


def test_nothing_in_a_history_is_markup() -> None:
    evil = stepped(test=EVIL, provenance=Provenance(commit="<b>" + "a" * 37))
    found = Page(facts.run(record()), history=evil)
    assert {tag for tag, _ in found.elements} == {
        tag for tag, _ in Page(facts.run(record()), history=stepped()).elements
    }
    assert "from commit <b>aaaaaaa on 5 % slower" in found.texts


def test_runs_of_several_machines_are_one_page() -> None:
    found = Page(facts.run(record()), facts.run(record(accelerator="inf1", budgets=Budgets()), version="1.2.4"))
    assert [text for text in found.texts if text.startswith("pytest-accel 1")] == [
        "pytest-accel 1.2.3",
        "pytest-accel 1.2.4",
    ]
    assert "2 variants of test_it.py::test_it" in found.texts


def test_each_machine_has_a_section_with_what_ran_there() -> None:
    there = record("sla-breach", accelerator="gpu-trt", host="me@gpu-box", versions={"tensorrt": "10.9"})
    found = Page(facts.run(record(versions={"tensorflow": "2.21"}), there, there))
    name = facts.T4.fingerprint
    texts = found.texts[-found.texts[::-1].index("Machines") :]
    at = texts.index(f"{name} on me@gpu-box")
    here, there_too = texts[:at], texts[at:]
    assert here[:2] == [name, "1 pass"]
    assert there_too[1] == "2 sla-breach"
    assert ("tensorflow" in here, "tensorrt" in here, "tensorrt" in there_too) == (True, False, True)


def test_the_templates_are_in_the_wheel(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if "/templates/" in name}
    assert packed == {f"pytest_accel/report/templates/{path.name}" for path in TEMPLATES.iterdir()}
    assert len(packed) == 3
