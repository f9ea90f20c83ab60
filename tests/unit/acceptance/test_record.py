from __future__ import annotations

from pathlib import Path

import pytest

from pytest_accel.acceptance.record import SCHEMA, read, write
from pytest_accel.facts.acceptance import Acceptance, CheckResult
from pytest_accel.facts.errors import AccelError
from tests.unit.facts import T4

ACCEPTANCE = Acceptance(
    accelerator="gpu-trt",
    date="2026-11-29",
    checks=2,
    results=(CheckResult(check="identity", outcome="held", reason="it is one", seconds=0.5, numbers={"p50_ms": 1.5}),),
    hardware=T4,
    versions={"tensorrt": "10.9.0"},
)


def test_what_is_written_is_read_again_and_its_folder_is_made(tmp_path: Path) -> None:
    write([ACCEPTANCE], tmp_path / "new" / "accept.json")
    assert read(tmp_path / "new" / "accept.json") == (ACCEPTANCE,)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(AccelError, match=r"taken/accept\.json: .*; name a file that can be written, with -o"):
        write([ACCEPTANCE], tmp_path / "taken" / "accept.json")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"held"', '"maybe"', r"accept.json:\d+: acceptances\[0\].results\[0\].outcome: Invalid enum value"),
        ('"seconds"', '"second"', r"accept.json:\d+: acceptances\[0\].results\[0\].second: there is no such field"),
        (f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}', r"newer format \(2\) than pytest-accel .* reads \(1\)"),
        ("{", "<", "not JSON"),
    ],
    ids=["an unknown outcome", "an unknown field", "a newer schema", "no JSON"],
)
def test_a_file_that_cannot_be_right_is_told_with_line_and_field(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "accept.json"
    write([ACCEPTANCE], path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(AccelError, match=message):
        read(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AccelError, match=r"gone\.json cannot be read"):
        read(tmp_path / "gone.json")
