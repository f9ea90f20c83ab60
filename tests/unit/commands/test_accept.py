from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.acceptance import run
from pytest_accel.acceptance.finding import Broken, Finding
from pytest_accel.acceptance.record import read
from pytest_accel.acceptance.subject import Subject
from pytest_accel.commands.console import DONE, FOUND, INTERRUPTED, TROUBLE
from pytest_accel.commands.main import main
from pytest_accel.inputs.registry import Registry
from pytest_accel.report.acceptance_table import BEGIN, END
from pytest_accel.testing import FAKE
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE


@pytest.fixture(autouse=True)
def fake_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Registry, "discover", lambda: Registry({"fake": FAKE}))
    monkeypatch.chdir(tmp_path)


def with_checks(monkeypatch: pytest.MonkeyPatch, **checks: run.Check) -> None:
    monkeypatch.setattr(run, "checks_of", lambda _: checks)


def held(subject: Subject) -> Finding:
    subject.raw_answers["inspector.json"] = "[]"
    return Finding("it is one")


def broken(subject: Subject) -> Finding:
    raise Broken("it is none")


def interrupted(subject: Subject) -> Finding:
    raise KeyboardInterrupt


def test_checks_are_told_and_stored_with_the_vendors_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, identity=held)
    assert main(["accept", "fake", "-o", "accept.json"]) == DONE
    told, last = capsys.readouterr().out.splitlines()
    assert told.split()[:3] == ["held", "fake", "identity"]
    assert last.startswith("| `fake` | fake device | ")
    (stored,) = read(Path("accept.json"))
    assert (stored.standing, stored.raw_answers) == ("accepted", ("inspector.json",))
    assert Path("accept/fake/inspector.json").read_text() == "[]"


def test_a_check_that_fails_is_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, identity=broken, contract=held)
    assert main(["accept", "fake", "-o", "accept.json"]) == FOUND
    (stored,) = read(Path("accept.json"))
    assert [result.outcome for result in stored.results] == ["failed", "held"]


def test_ctrl_c_keeps_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with_checks(monkeypatch, identity=held, contract=interrupted)
    assert main(["accept", "fake", "-o", "accept.json"]) == INTERRUPTED
    (stored,) = read(Path("accept.json"))
    assert (stored.standing, [result.check for result in stored.results]) == ("partial", ["identity"])


def undecided(subject: Subject) -> Finding:
    return Finding("too noisy", outcome="inconclusive")


def outcomes() -> list[list[str]]:
    return [[result.outcome for result in each.results] for each in read(Path("accept.json"))]


RESUMED = ["accept", "fake", "-o", "accept.json", "--resume"]


def test_what_was_left_open_is_made_and_the_rest_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, identity=held, yardstick=undecided, contract=interrupted)
    assert main(["accept", "fake", "-o", "accept.json"]) == INTERRUPTED
    with_checks(monkeypatch, identity=broken, yardstick=held, contract=held)
    capsys.readouterr()
    assert main(RESUMED) == DONE
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()[:-1]] == ["yardstick", "contract"]
    assert outcomes() == [["held", "held", "held"]]
    assert read(Path("accept.json"))[0].standing == "accepted"


def test_resuming_again_repeats_nothing_and_tells_the_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, identity=held)
    assert main(RESUMED) == DONE, "there is no file yet"
    with_checks(monkeypatch, identity=broken)
    capsys.readouterr()
    assert main(RESUMED) == DONE
    (row,) = capsys.readouterr().out.splitlines()
    assert row.endswith("accepted: 1 held |")


def test_other_versions_are_accepted_anew(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with_checks(monkeypatch, identity=held)
    main(RESUMED)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({"versions": {"fake-sdk": "2.0"}}))
    with_checks(monkeypatch, identity=broken)
    capsys.readouterr()
    assert main(RESUMED) == FOUND
    assert capsys.readouterr().out.startswith("fake: the versions in accept.json are others, so all checks are made")
    assert outcomes() == [["failed"]]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ({"identity_facts": {"model": "Fake 2000", "cores": 8}}, TROUBLE),
        ({"identity_facts": {"model": "Fake 2000", "cores": 8}, "versions": {"fake-sdk": "2.0"}}, TROUBLE),
        ({"missing": {"reason": "no-device", "message": "no fake device", "advice": "plug one in"}}, FOUND),
    ],
    ids=["another machine", "another machine with other versions", "absent"],
)
def test_what_is_stored_of_a_device_is_not_lost_without_it(
    monkeypatch: pytest.MonkeyPatch, script: dict[str, Any], status: int
) -> None:
    with_checks(monkeypatch, identity=held)
    main(RESUMED)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(script))
    assert main(RESUMED) == status
    assert outcomes() == [["held"]]


def test_a_real_check_of_the_fake_is_made() -> None:
    assert main(["accept", "fake", "-o", "accept.json", "--only=identity"]) == DONE
    assert read(Path("accept.json"))[0].results[0].outcome == "held"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fake"], "accept needs the name of an accelerator and a file"),
        (["-o", "accept.json"], "accept needs the name of an accelerator and a file"),
        (["faque", "-o", "accept.json"], "unknown accelerator 'faque', did you mean 'fake'"),
        (["fake", "-o", "/dev/null/accept.json"], "/dev/null/accept.json: "),
        (["fake", "-o", "accept.json", "--only=identify"], "--only=identify is no check, did you mean 'identity'"),
        (["--show", "gone.json"], "gone.json cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accept", *arguments]) == TROUBLE
    assert message in capsys.readouterr().err


def test_the_table_of_stored_files_is_written_into_a_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checks(monkeypatch, identity=held)
    monkeypatch.setattr("pytest_accel.inputs.registry.BUILTIN", {"fake": FAKE, "other": FAKE})
    main(["accept", "fake", "-o", "accept.json"])
    capsys.readouterr()
    Path("page.md").write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    assert main(["accept", "--show", "accept.json", "--page", "page.md"]) == DONE
    table = capsys.readouterr().out.strip()
    assert table.splitlines()[-1] == "| `other` |  |  |  | not yet |"
    assert Path("page.md").read_text(encoding="utf-8") == f"{BEGIN}\n\n{table}\n\n{END}\n"
