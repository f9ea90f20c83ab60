from __future__ import annotations

import pytest

from pytest_accel.facts.records import Failure, RunRecord
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.report.markdown import MARKER, MOST_BYTES_OF_COMMENT, comment, escape, head, markdown
from pytest_accel.report.overview import Overview
from tests.unit import facts
from tests.unit.report.test_overview import RATIO, failure, record


def lines(run: RunRecord) -> list[str]:
    return markdown(Overview.of([run])).splitlines()


def test_it_starts_with_the_answer() -> None:
    run = facts.run(record(), record("sla-breach", accelerator="gpu"), failures=(failure(),))
    assert list(head(Overview.of([run]))) == lines(run)[:5]
    assert lines(run)[:5] == [
        "## Failed: 1 of 2 tests",
        "",
        "1 pass, 1 sla-breach",
        "",
        "- began 23 November 2026, 17:00 UTC; took 4 min 12 s; "
        "machine g4dn.xlarge-tesla-t4-2c-16g-aea327; by pytest-accel 1.2.3",
    ]


def test_a_model_is_a_table_whose_rows_have_a_cell_for_every_heading() -> None:
    left_out = record("refused", accelerator="gpu", measurement=None)
    text = lines(facts.run(record(ratio=RATIO), left_out))
    rows = [line for line in text if line.startswith("|")]
    assert len(rows) == 4
    assert len({row.count(" | ") for row in rows}) == 1
    assert rows[0].startswith("| verdict | variant | limits | p50 ms | ")
    assert rows[1].startswith("| --- | --- | --- | ---: | ")
    assert rows[2].startswith("| ✓ pass | cpu \\* | p99 7 ms | 50.0 | ")
    assert rows[3].startswith("| – refused | gpu: A sentence. | p99 7 ms |")


def test_the_best_of_a_sweep_is_marked_and_explained() -> None:
    text = lines(facts.run(record(), record(accelerator="slow", measurement=facts.measurement(wall_s=99.0))))
    assert any(line.startswith("| ✓ pass | cpu \\* |") for line in text)
    assert "\\* highest throughput of those that keep all their limits, so the cheapest for each item" in text


def test_a_failure_has_its_whole_message_in_a_block_of_its_own() -> None:
    failure = Failure(test="t.py::t[a_b]", file="t.py", line=7, message="one\n```two```", details="Fatal")
    text = lines(facts.run(failures=(failure,)))
    start = text.index("**t.py::t\\[a\\_b\\]** t.py:7")
    assert text[start + 2 : start + 7] == ["````text", "one", "```two```", "Reproduce: pytest 't.py::t[a_b]'", "````"]
    assert text[start + 8 : start + 15] == [
        "<details><summary>accelerator's worker</summary>",
        "",
        "```text",
        "Fatal",
        "```",
        "",
        "</details>",
    ]


def test_notes_absent_accelerators_and_versions_come_last() -> None:
    text = lines(facts.run(record("inconclusive"), absent={"inf1": "no device"}))
    assert [line for line in text if line.startswith("### ")][1:] == [
        "### Notes",
        "### Absent accelerators",
        "### Versions",
    ]
    assert "- inf1 absent: no device" in text
    assert text[-1] == "- cpu on g4dn.xlarge-tesla-t4-2c-16g-aea327: tensorrt 10.9.0, driver 570.1"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<script>", "\\<script\\>"),
        ("a|b", "a\\|b"),
        ("`x` *y* _z_ ~s~ [l](u)", "\\`x\\` \\*y\\* \\_z\\_ \\~s\\~ \\[l\\](u)"),
        ("&lt;", "\\&lt;"),
        ("a\\|b", "a\\\\\\|b"),
        ("two\nlines", "two lines"),
    ],
)
def test_nothing_in_a_record_is_markup(text: str, safe: str) -> None:
    assert escape(text) == safe


# Comments


def test_a_comment_begins_with_the_line_by_which_the_next_one_finds_it() -> None:
    run = facts.run(record("sla-breach"), failures=(failure(),))
    text = comment(Overview.of([run]))
    assert text == f"{MARKER}\n{markdown(Overview.of([run]))}"
    assert text.startswith("<!-- pytest-accel -->\n## Failed: 1 of 1 test\n")


def test_a_comment_is_as_long_as_github_takes_and_leaves_the_least_needed_out() -> None:
    failures = tuple(
        Failure(test=f"t.py::t{n}", file="t.py", line=n, message=f"{n} " + "x" * 1000, details="y" * 9000)
        for n in range(1, 51)
    )
    run = facts.run(record("sla-breach"), failures=failures, warnings=("a note",))
    text = comment(Overview.of([run]))
    assert len(text.encode()) <= MOST_BYTES_OF_COMMENT
    assert text.count("x" * 1000) == 50, "all failures are there"
    assert "- a note" in text
    assert text.count("y" * 9000) == 1
    assert text.endswith(
        "\nLeft out, because more is not shown here: workers' last words (49). "
        "`--accel-report=report.html` writes it all.\n"
    )


def test_failures_beyond_the_size_are_counted() -> None:
    failures = tuple(Failure(test=f"t.py::t{n}", file="t.py", line=n, message="é" * 5000) for n in range(1, 21))
    text = comment(Overview.of([facts.run(failures=failures)]))
    assert len(text.encode()) <= MOST_BYTES_OF_COMMENT
    assert "**t.py::t1** t.py:1" in text
    assert "more is not shown here: failures (14)." in text


def test_names_and_sentences_are_escaped_wherever_they_stand() -> None:
    evil = "<b>|x"
    verdict = Verdict(kind="inconclusive", question="sla", summary=evil)
    run = facts.run(
        record(model=evil, verdicts=(verdict,)),
        record("refused", model=evil, accelerator="gpu", measurement=None, verdicts=(verdict,)),
        absent={evil: evil},
        warnings=(evil,),
        failures=(failure(test=evil),),
    )
    outside = [line for line in lines(run) if not line.startswith("Reproduce: ")]
    assert sum("\\<b\\>\\|x" in line for line in outside) >= 5
    assert not any("<b>" in line for line in outside)
