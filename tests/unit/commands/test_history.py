from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.report.write import write
from pytest_accel.store.history import History, dump
from tests.unit import facts
from tests.unit.commands.conftest import Ran
from tests.unit.facts import T4
from tests.unit.report.test_history_series import Runs


@pytest.fixture
def history(tmp_path: Path) -> History:
    """Sixteen runs of a model of which the second half is slower, and three of another one without a baseline."""
    runs = Runs()
    for nth in range(16):
        runs.add(f"B{nth}", 1.0 if nth < 8 else 1.05, "A")
    for _ in range(3):
        runs.add("C", model="bert", variant="cpu")
    history = History(tmp_path / "baselines")
    for entry in runs.entries:
        history.add([entry])
    return history


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What captures the output has an encoding of its own."""
    monkeypatch.setattr(type(sys.stdout), "encoding", "utf-8", raising=False)


def test_each_series_is_a_line_with_its_trend_and_its_changes_below(run: Callable[..., Ran], history: History) -> None:
    ran = run("history")
    assert (ran.status, ran.err) == (0, "")
    heads, bert, resnet50, change = ran.lines
    assert " ".join(heads.split()) == "model variant fingerprint runs trend of level first p50 ms last p50 ms"
    assert bert.split()[:4] == ["bert", "cpu", T4.fingerprint, "3"]
    assert bert.split()[5:7] == ["p50", "-"]
    assert resnet50.split()[:4] == ["resnet50", "gpu-trt-int8-b8", T4.fingerprint, "16"]
    trend, of, level = resnet50.split()[4:7]
    assert (len(set(trend[:8])), len(set(trend[8:])), trend[0] < trend[-1]) == (1, 1, True)
    assert (of, level) == ("ratio", "×1.050")
    assert resnet50.endswith("50 [-, -]     50 [-, -]")
    assert change == f"resnet50[gpu-trt-int8-b8] on {T4.fingerprint}: from commit 08aaaaaaaa on 5 % slower"


def test_only_the_named_models(run: Callable[..., Ran], history: History) -> None:
    assert len(run("history", "bert").lines) == 2
    assert len(run("history", "bert", "resnet50").lines) == 4
    ran = run("history", "resnet")
    assert (ran.status, ran.out) == (1, "no run in baselines/history has measured resnet\n")


def test_nothing_in_a_folder_that_is_not_there(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("history", "--baseline-dir", tmp_path / "none")
    assert (ran.status, ran.out) == (1, f"no run in {tmp_path / 'none' / 'history'}\n")
    assert json.loads(run("history", "--json").out) == []


def test_as_json(run: Callable[..., Ran], history: History) -> None:
    bert, resnet50 = json.loads(run("history", "--json").out)
    assert (bert["model"], bert["measure"], len(bert["runs"])) == ("bert", "p50", 3)
    assert resnet50["changes"] == [
        {"fact": "from commit 08aaaaaaaa on 5 % slower", "factor": pytest.approx(1.05), "point": 8}
    ]
    point = resnet50["points"][8]
    assert (point["run"], point["value"]) == (8, pytest.approx(1.05))
    assert resnet50["runs"][8]["provenance"]["commit"].startswith("08")


def test_a_terminal_without_blocks_gets_plain_characters(
    run: Callable[..., Ran], history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    run("history", "resnet50")
    plain.flush()
    assert isinstance(plain.buffer, io.BytesIO)
    assert "--------++++++++" in plain.buffer.getvalue().decode("ascii")


@pytest.mark.parametrize("args", [(), ("--json",)], ids=["table", "json"])
def test_a_damaged_line_is_trouble_and_hides_nothing(
    run: Callable[..., Ran], history: History, args: tuple[str, ...]
) -> None:
    whole = run("history", *args).out
    (history.root / "2026-11" / "damaged.jsonl").write_text("{\n")
    ran = run("history", *args)
    assert (ran.status, ran.out) == (2, whole)
    assert ran.err.startswith("pytest-accel: baselines/history/2026-11/damaged.jsonl:1: not JSON: ")
    assert "restore the file from version control, or remove the line" in ran.err


@pytest.mark.parametrize("args", [(), ("--baseline-dir", "baselines")], ids=["default", "named"])
def test_the_page_of_several_runs_draws_the_history(
    run: Callable[..., Ran], history: History, tmp_path: Path, args: tuple[str, ...]
) -> None:
    write([facts.run(facts.record(measurement=facts.measurement()))], tmp_path / "run.json")
    assert run("report", "run.json", "-o", "all.html", *args).status == 0
    page = (tmp_path / "all.html").read_text(encoding="utf-8")
    assert "resnet50[gpu-trt-int8-b8]: 16 runs; from commit 08aaaaaaaa on 5 % slower" in page
    assert "bert" not in page
    run("report", "run.json", "-o", "all.html", "--baseline-dir", "none")
    assert "16 runs" not in (tmp_path / "all.html").read_text(encoding="utf-8")
    (history.root / "damaged.jsonl").write_text("{\n")
    ran = run("report", "run.json", "-o", "all.html", *args)
    assert (ran.status, ran.err.startswith("pytest-accel: baselines/history/damaged.jsonl:1: ")) == (2, True)
    assert (tmp_path / "all.html").read_text(encoding="utf-8") == page


# merge


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    """What three jobs of CI have kept: two runs each, of which they share one."""
    runs = Runs()
    for _ in range(4):
        runs.add("A")
    for job in range(3):
        History(tmp_path / "artefacts" / f"job-{job}").add(runs.entries[:1])
        History(tmp_path / "artefacts" / f"job-{job}").add([runs.entries[1 + job]])
    return tmp_path / "artefacts"


def runs_in(folder: Path) -> list[Any]:
    return [entry.when[11:13] for entry in History(folder).read().entries]


def test_merge_adds_each_run_once(run: Callable[..., Ran], artefacts: Path, tmp_path: Path) -> None:
    ran = run("history", "merge", artefacts)
    assert ran.status == 0
    assert ran.out == "4 of 6 runs added to baselines/history; the others were there already\n"
    assert runs_in(tmp_path / "baselines") == ["00", "01", "02", "03"]
    again = run("history", "merge", artefacts / "job-0", artefacts / "job-1")
    assert again.out == "0 of 4 runs added to baselines/history; the others were there already\n"
    assert len(list((tmp_path / "baselines").rglob("*.jsonl"))) == 4


def test_merge_into_another_folder_leaves_the_names_of_the_files(
    run: Callable[..., Ran], artefacts: Path, tmp_path: Path
) -> None:
    run("history", "merge", artefacts, "--into", tmp_path / "all")
    assert {path.name for path in (tmp_path / "all").rglob("*.jsonl")} == {
        path.name for path in artefacts.rglob("*.jsonl")
    }


def test_merge_takes_a_file_that_somebody_has_joined(run: Callable[..., Ran], artefacts: Path, tmp_path: Path) -> None:
    entries = [entry for job in sorted(artefacts.iterdir()) for entry in History(job).read().entries]
    (tmp_path / "joined.jsonl").write_text("".join(map(dump, entries)))
    run("history", "merge", artefacts / "job-0", tmp_path / "joined.jsonl")
    assert runs_in(tmp_path / "baselines") == ["00", "01", "02", "03"]


def test_merge_tells_a_damaged_line_and_takes_the_others(
    run: Callable[..., Ran], artefacts: Path, tmp_path: Path
) -> None:
    path = next((artefacts / "job-0").rglob("*.jsonl"))
    path.write_text(path.read_text() + "}\n")
    ran = run("history", "merge", artefacts)
    assert ran.status == 2
    assert ran.err.startswith(f"pytest-accel: {path}:2: not JSON: ")
    assert runs_in(tmp_path / "baselines") == ["00", "01", "02", "03"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("history", "merge"), "merge needs histories: pytest-accel history merge DIR --into baselines"),
        (("history", "merge", "none"), "there is no file or folder none; name histories that runs with --accel-"),
        (("history", "merge", "."), ". has no history: no file below it has a name like "),
        (("history", "bert", "--into", "x"), "--into is for merge: "),
    ],
)
def test_a_wrong_call_says_what_is_right(run: Callable[..., Ran], words: tuple[str, ...], message: str) -> None:
    ran = run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"pytest-accel: {message}")
