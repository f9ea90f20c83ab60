from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_accel.facts.errors import AccelError
from pytest_accel.facts.records import RunRecord
from pytest_accel.report.record import SCHEMA, read_record
from pytest_accel.report.write import write
from tests.unit import facts


def run_record() -> RunRecord:
    test = facts.record(measurement=facts.measurement(), duet=facts.duet())
    return facts.run(test, absent={"inf1": "no device"}, warnings=("nothing was measured",))


def test_what_is_written_is_read_back_with_every_call(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run.json"
    write([run_record()], path)
    assert read_record(path) == run_record()


def test_it_is_legible_and_ends_in_a_newline(tmp_path: Path) -> None:
    write([run_record()], tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert '\n "version": "1.2.3"' in text
    assert text.endswith("}\n")


def test_one_that_cannot_be_written_names_the_option_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="ascii")
    with pytest.raises(AccelError, match=r"^.*taken/run\.json: .+; name a file that can be written$"):
        write([run_record()], tmp_path / "taken" / "run.json")


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AccelError, match=r"run\.json: No such file or directory"):
        read_record(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tests": [{}]}, r"\$\.tests\[0\]"),
        ({"duration_s": "long"}, r"\$\.duration_s"),
        ({"schema": "1"}, r"\$\.schema"),
        ({"started": "yesterday"}, "Invalid isoformat string: 'yesterday'"),
        ({"duration_s": 10**400}, "10{19} is too large a number"),
        (None, ""),
    ],
)
def test_one_that_is_none_names_the_file_and_the_field(
    tmp_path: Path, change: dict[str, object] | None, field: str
) -> None:
    path = tmp_path / "run.json"
    write([run_record()], path)
    text = "{" if change is None else json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change})
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AccelError, match=rf"run\.json is not a record of a pytest-accel run: .*{field}"):
        read_record(path)


def test_one_of_a_newer_format_says_who_wrote_it_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schema": SCHEMA + 1, "version": "9.1.0", "news": []}), encoding="utf-8")
    with pytest.raises(
        AccelError, match=r"run\.json was written by pytest-accel 9\.1\.0 .*: pip install 'pytest-accel>=9\.1\.0'$"
    ):
        read_record(path)


def test_waits_of_other_calls_are_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write([run_record()], path)
    path.write_text(path.read_text(encoding="utf-8").replace('"waits_ns": []', '"waits_ns": [1]'), encoding="utf-8")
    with pytest.raises(AccelError, match=r"1 waits are not those of 100 calls - at `\$\.tests\[0\]\.measurement`"):
        read_record(path)
