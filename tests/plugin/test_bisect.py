"""``pytest-accel bisect`` in real repositories: what it finds, what it leaves behind, and what it says of bad ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.commands.main import main
from pytest_accel.testing import FAKE
from tests.git import Repo

CONFTEST = f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}\n"
ONE_TEST = """
import pytest

@pytest.mark.accelerator("fake", max_regression=0.1{more})
def test_model(accel_model):
    accel_model("model.fake.json").check()
"""
#: WAIT makes a test wait until somebody lets it go on.
WAIT = """
import os
import time
from pathlib import Path

flags = Path(os.environ["FLAGS"])
(flags / "waits").touch()
while not (flags / "go-on").exists():
    time.sleep(0.05)
"""
TEST = "test_model.py::test_model"
#: WITHOUT keeps plugins from being imported that no run here has use for: a third of its start.
WITHOUT = "-p no:cacheprovider -p no:hypothesispytest -p no:xdist"
#: COMMAND is the console script in a process of its own.
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from pytest_accel.commands.main import main; sys.exit(main())",
    "bisect",
]
NO_WORKERS = "--accel-in-process"


def script(**keys: Any) -> str:
    return json.dumps(keys)


class Search:
    """A repository with a project in it, and the command in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.repo = Repo(folder / "project")
        self.cache = folder / "cache"
        self._capsys = capsys

    def begin(self, more: str = "", **keys: Any) -> str:
        """Commit the project with a model that has this script."""
        files = {"conftest__py": CONFTEST, "test_model__py": ONE_TEST.format(more=more)}
        return self.repo.commit("Begin", model__fake__json=script(**keys), **files)

    def model(self, message: str, **keys: Any) -> str:
        return self.repo.commit(message, model__fake__json=script(**keys))

    def run(self, *words: str) -> int:
        status = main(["bisect", f"--cache-dir={self.cache}", *words])
        self.out, self.err = self._capsys.readouterr()
        return status

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def logs(self) -> list[Path]:
        """One for each run of pytest, those of all questions."""
        return sorted(self.cache.rglob("logs/*.log"))


@pytest.fixture
def search(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Search:
    made = Search(tmp_path, capsys)
    monkeypatch.chdir(made.repo.path)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{WITHOUT} -o accel_lock_dir={tmp_path / 'locks'}")
    return made


@pytest.mark.slow
def test_the_slower_commit_is_found_and_the_checkout_is_left_alone(search: Search) -> None:
    good = search.begin()
    equal = search.repo.commit("Write a page", page__md="text")
    slower = search.model("Widen the head", latency_ms=1.3)
    search.repo.commit("Write another page", page__md="more text")
    (search.repo.path / "model.fake.json").write_text("not committed")
    before = search.repo.state
    assert search.run(good, "main", "--", TEST) == 0
    assert search.lines[0] == "note: this checkout has changes that are in no commit; they take no part"
    assert re.match(r"bad        \w{10} Write another page  ×1\.300 \[.*\]  \(BAD; \d+ s; 3 to go\)$", search.lines[1])
    assert re.match(
        r"good       \w{10} Begin  ×1\.000 \[.*\]  \(GOOD beside itself; \d+ s; 2 to go\)$", search.lines[2]
    )
    assert search.lines[-3] == f"first regressed: {slower[:10]} Widen the head (95 % confidence over 4 decisions)"
    assert re.match(rf"  there   {slower[:10]} Widen the head  ×1\.300 \[1\.\d+, 1\.\d+\]$", search.lines[-2])
    assert re.match(rf"  before  {equal[:10]} Write a page  ×1\.000 \[0\.\d+, 1\.\d+\]$", search.lines[-1])
    assert search.repo.state == before
    made = len(search.logs)
    assert made == 5, "one that makes the opponent, and four decisions"
    assert search.run(good, "main", "--", TEST) == 0
    assert search.lines[-3] == f"first regressed: {slower[:10]} Widen the head (95 % confidence over 4 decisions)"
    assert len(search.logs) == made, "nothing is measured again"


@pytest.mark.slow
def test_a_model_that_no_longer_compiles_is_found(search: Search) -> None:
    good = search.begin()
    refused = {"compile": {"how": "refused", "message": "no such operator"}}
    bad = search.model("Use a new operator", failures=refused)
    search.model("Be slower too", failures=refused, latency_ms=2)
    assert search.run(good, "main", "--", TEST, NO_WORKERS) == 0
    assert f"first refused by the compiler: {bad[:10]} Use a new operator" in search.out
    assert "no such operator" in search.lines[-2]


@pytest.mark.slow
def test_an_inaccurate_model_is_found(search: Search) -> None:
    good = search.begin(more=", precision='int8', max_accuracy_drop=0.01")
    bad = search.model("Quantise more", by_precision={"int8": {"output_noise": 100.0}})
    search.repo.commit("Write a page", page__md="text")
    assert search.run(good, "main", "--", TEST, NO_WORKERS) == 0
    assert f"first inaccurate: {bad[:10]} Quantise more" in search.out


@pytest.mark.slow
def test_commits_without_the_test_are_a_range_and_folders_below_the_top_are_kept(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    (search.repo.path / "models").mkdir()
    monkeypatch.chdir("models")
    files = {"models/conftest__py": CONFTEST, "models/test_model__py": ONE_TEST.format(more="")}
    good = search.repo.commit("Begin", **files, **{"models/model__fake__json": "{}"})
    (search.repo.path / "models/test_model.py").unlink()
    without = search.repo.commit("Lose the test")
    refused = script(failures={"compile": {"how": "refused"}})
    bad = search.repo.commit("Find it again", **files, **{"models/model__fake__json": refused})
    assert search.run(good, bad, "--", TEST, NO_WORKERS) == 1
    assert f"undecided  {without[:10]} Lose the test  there is no such test, or it cannot be collected" in search.out
    assert search.lines[-5].startswith("first refused by the compiler: one of these; all but the last could")
    assert search.lines[-4:-2] == [f"  {without[:10]} Lose the test", f"  {bad[:10]} Find it again"]


def test_a_good_commit_that_cannot_be_judged_names_its_reason_and_log(search: Search) -> None:
    good = search.begin(more=", batch_size=[1, 2]")
    search.model("Anything", latency_ms=2)
    assert search.run(good, "main", "--", TEST, NO_WORKERS) == 2
    assert re.search(
        r"^pytest-accel: GOOD cannot be judged: 2 checks were selected: .*\[fake-b1\], .*\[fake-b2\] \((.*\.log)\); "
        r"name one variant of one test that runs there",
        search.err,
    )
    assert search.logs[0].is_file()


def test_a_good_commit_that_does_not_compile_is_no_opponent(search: Search) -> None:
    good = search.begin(failures={"compile": {"how": "refused", "message": "no such operator"}})
    search.model("Anything")
    assert search.run(good, "main", "--", TEST, NO_WORKERS) == 2
    assert "pytest-accel: GOOD cannot be judged: not-measured: The compiler refused it: no such operator" in search.err


def test_ends_without_a_difference(search: Search) -> None:
    good = search.begin()
    search.repo.commit("Write a page", page__md="text")
    assert search.run(good, "main", "--hunt=refused", "--", TEST, NO_WORKERS) == 2
    assert "pytest-accel: BAD is not refused, so there is nothing to look for: " in search.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("HEAD",), "call it so: pytest-accel bisect GOOD BAD -- tests/test_x.py::test_y"),
        (("HEAD", "HEAD"), "call it so: "),
        (("HEAD", "HEAD", "--", TEST), "GOOD and BAD are one commit"),
        (("HEAD", "nowhere", "--", TEST), "nowhere: no such commit in "),
        (("HEAD~1", "HEAD", "--", "{top}/test_model.py"), "name it relative to this folder"),
    ],
)
def test_calls_that_cannot_be_right(search: Search, words: tuple[str, ...], message: str) -> None:
    search.begin()
    search.repo.commit("Another")
    assert search.run(*(word.format(top=search.repo.path) for word in words)) == 2
    assert message in search.err
    assert search.logs == []


@pytest.mark.parametrize(
    ("keys", "hunt", "status", "answer"),
    [
        ({"latency_ms": 1.3}, "refused", 0, "good "),
        ({"failures": {"compile": {"how": "refused"}}}, "refused", 1, "bad "),
        ({"latency_ms": 1.3}, "regressed", 125, "undecided "),  # no speed is judged in the process of pytest
    ],
    ids=["good", "bad", "undecided"],
)
def test_a_step_has_the_status_that_git_asks_for(
    search: Search, keys: dict[str, Any], hunt: str, status: int, answer: str
) -> None:
    good = search.begin()
    (search.repo.path / "model.fake.json").write_text(script(**keys))  # the checkout as it is, and no commit
    assert search.run("--step", f"--hunt={hunt}", good, "--", TEST, NO_WORKERS) == status
    assert search.lines[-1].startswith(answer)
    assert len(search.logs) == 2


def test_trouble_in_a_step_ends_a_run_of_git(search: Search) -> None:
    search.begin()
    assert search.run("--step", "nowhere", "--", TEST) == 128
    assert "nowhere: no such commit" in search.err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_cleans_up_and_goes_on(
    search: Search, heard_interrupts: None, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    good = search.begin()
    refused = script(failures={"compile": {"how": "refused"}})
    waiting = search.repo.commit("Wait", test_model__py=WAIT + ONE_TEST.format(more=""), model__fake__json=refused)
    search.repo.commit("Wait no more", test_model__py=ONE_TEST.format(more=""))
    before = search.repo.state
    temporary, flags = tmp_path / "tmp", tmp_path / "flags"
    for name, folder in (("TMPDIR", temporary), ("FLAGS", flags)):
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    words = [f"--cache-dir={search.cache}", good, "main", "--", TEST, NO_WORKERS]
    process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True)
    wait_for(flags / "waits", process)
    assert len(search.logs) == 4, "the opponent, BAD and GOOD have come to their ends"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on from here" in err
    assert search.repo.state == before
    assert list(temporary.glob("pytest-accel-run-*")) == []
    (flags / "go-on").touch()
    assert search.run(good, "main", "--", TEST, NO_WORKERS) == 0
    assert search.lines[0].startswith("going on after 2 runs that are kept in ")
    assert f"first refused by the compiler: {waiting[:10]} Wait" in search.out
    assert len(search.logs) == 5, "only the run that was interrupted is made again"


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a process has made a file."""
    for _ in range(600):
        if file.exists():
            return
        if process.poll() is not None:
            pytest.fail(process.communicate()[1])
        time.sleep(0.1)
    process.kill()
    pytest.fail(f"{file} was not made within a minute")
