from __future__ import annotations

import pytest

from pytest_accel.facts.records import Duet
from pytest_accel.store.strict_json import Malformed, convert, line_of, parse

DUET = """\
{
  "pacemaker": "yardstick",
  "pacemaker_digest": "a\\"]}",
  "launches": [
    {
      "candidate_p50_ms": 1.5, "pacemaker_p50_ms": 2,
      "log_pace": -0.3,
      "pairs": 10,
      "started_first": "candidate"
    }
  ]
}
"""


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("", 1),
        ("pacemaker", 2),
        ("launches", 4),
        ("launches[0]", 5),
        ("launches[0].pacemaker_p50_ms", 6),
        ("launches[0].started_first", 9),
        ("launches[0].absent", 5),
        ("launches[7]", 4),
        ("pacemaker.inside", 2),
    ],
)
def test_the_line_of_a_field(field: str, line: int) -> None:
    assert line_of(DUET, field) == line


def test_the_line_of_a_later_element() -> None:
    assert line_of('{"a": [\n1,\n{"b": 2},\n3]}', "a[2]") == 4


def test_sound_text_becomes_the_fact_it_holds() -> None:
    assert convert(parse(DUET), Duet, DUET).launches[0].pairs == 10


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('"pairs": 10', '"pairs": "10"', 8, "launches[0].pairs: Expected int, got str"),
        ('      "pairs": 10,\n', "", 5, "launches[0].pairs: this field is missing"),
        ('"pairs": 10', '"pears": 1, "pairs": 10', 8, "launches[0].pears: there is no such field"),
        ('"candidate"\n', '"nobody"\n', 9, "launches[0].started_first: Invalid enum value 'nobody'"),
        ('  "pacemaker": "yardstick",\n', "", 1, "pacemaker: this field is missing"),
    ],
)
def test_a_mistake_is_named_by_line_and_field(old: str, new: str, line: int, problem: str) -> None:
    text = DUET.replace(old, new)
    assert text != DUET
    with pytest.raises(Malformed) as caught:
        convert(parse(text), Duet, text)
    assert (caught.value.line, str(caught.value)) == (line, problem)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "not JSON: Expecting value (column 1)"),
        ('{\n  "a": 1\n  "b": 2\n}', 3, "not JSON: Expecting ',' delimiter (column 3)"),
        ('{\n  "a": NaN\n}', 2, "NaN is no JSON number"),
        ('{\n  "a": -1e999\n}', 2, "-1e999 is too large a number"),
        ("[" * 100_000, 1, "not JSON of ours: its brackets are nested too deeply"),
        ('{\n  "a": 1,\n  "a": 2\n}', 3, "'a' is there twice"),
        ('{\n  "a": 1e999\n}', 2, "1e999 is too large a number"),
        ('{\n  "a": -1e301\n}', 2, "-1e301 is too large a number"),
        ('{\n  "a": ' + 400 * "9" + "\n}", 2, 20 * "9" + " is too large a number"),
        ('{\n  "a": ' + 5000 * "9" + "\n}", 2, 20 * "9" + " is too large a number"),
        ('{\n  "a": "\\ud800"\n}', 2, "\\ud800 is half of a character"),
        ('{\n<<<<<<< HEAD\n  "a": 1\n=======\n', 2, "an unresolved merge conflict"),
    ],
)
def test_what_is_not_json_is_named_by_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text)
    assert (caught.value.line, str(caught.value)) == (line, problem)


def test_an_integer_of_thousands_of_digits_is_not_read() -> None:
    with pytest.raises(Malformed, match=r"1{20} is too large a number"):
        parse("1" * 5000)
