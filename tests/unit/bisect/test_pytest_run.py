from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pytest_accel.bisect import pytest_run
from pytest_accel.bisect.pytest_run import Place, PytestRun, Terms
from pytest_accel.bisect.trial import Given
from pytest_accel.facts.progress import Silence
from pytest_accel.facts.verdicts import Verdict
from pytest_accel.report.record import to_json
from tests.unit import facts
from tests.unit.bisect.scripted import ratio

TERMS = Terms("opponent", 0.994, 90.0)


def interpreter(folder: Path, code: str) -> Path:
    """An interpreter that does this in place of what it is called for."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport json, os, signal, sys, time\n{code}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run(tmp_path: Path, code: str) -> PytestRun:
    interpreter(tmp_path, code)
    return PytestRun(["test_x.py::test_y", "-x"], tmp_path / "logs", Silence())


def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "python", tmp_path, {"OWN": "1"})


WRITE = """
json.dump([sys.argv[1:], os.getcwd(), os.environ["OWN"]], open("called", "w"))
print("what pytest says", flush=True)
(report,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--accel-report=")]
open(report, "w").write(open("record").read())
sys.exit(1)
"""


def test_the_test_is_run_as_asked_for_and_its_record_is_read(tmp_path: Path) -> None:
    verdict = Verdict(kind="regressed", question="regression", summary="slower")
    record = facts.record(verdicts=(verdict,), ratio=ratio(1.05))
    (tmp_path / "record").write_text(to_json(facts.run(record)))
    trial = run(tmp_path, WRITE)("0123456789abcdef", place(tmp_path), tmp_path / "cache", TERMS)
    assert trial.verdicts == (Given(kind="regressed", question="regression"),)
    assert (trial.point, trial.ratio, trial.reason) == ("0123456789abcdef", ratio(1.05), "regressed: slower")
    assert (trial.confidence, trial.compare_budget_s) == (0.994, 90.0)
    assert Path(trial.log).read_text() == "what pytest says\n"
    words, folder, own = json.loads((tmp_path / "called").read_text())
    assert (folder, own) == (str(tmp_path), "1")
    assert words[:4] == ["-m", "pytest", "test_x.py::test_y", "-x"]
    assert words[4] == f"--accel-cache-dir={tmp_path / 'cache'}"
    settings = ["-o", "accel_confidence=0.994", "-o", "accel_compare_budget=90"]
    assert words[6:] == ["-o", "accel_github=false", "--accel-against=opponent", *settings]


def test_each_run_has_a_log_of_its_own_and_none_needs_an_opponent(tmp_path: Path) -> None:
    make = run(tmp_path, "sys.exit(3)")
    trials = [make("0123", place(tmp_path), tmp_path, Terms("", 0.95, 1.0)) for _ in range(2)]
    assert [Path(trial.log).name for trial in trials] == ["001-0123.log", "002-0123.log"]
    assert trials[0].reason == "pytest ended with status 3 before it could write a record"
    assert trials[0].verdicts == ()
    assert not any("against" in word for word in Terms("", 0.95, 1.0).options)


STUBBORN = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
open("pid", "w").write(str(os.getpid()))
time.sleep(600)
"""


class Interrupts(Silence):
    """Progress that is interrupted as soon as a file is there."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(
        self, step: str, detail: str = "", *, share: float | None = None, lasts_s: float | None = None
    ) -> None:
        if self._file.exists() and self._file.read_text():
            raise KeyboardInterrupt


@pytest.mark.parametrize("code", [STUBBORN, STUBBORN.replace("signal.SIG_IGN", "signal.default_int_handler")])
def test_an_interrupted_run_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(pytest_run, "_PATIENCE_S", 1.0)
    interpreter(tmp_path, code)
    make = PytestRun(["test_x.py"], tmp_path / "logs", Interrupts(tmp_path / "pid"))
    with pytest.raises(KeyboardInterrupt):
        make("0123", place(tmp_path), tmp_path, TERMS)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
