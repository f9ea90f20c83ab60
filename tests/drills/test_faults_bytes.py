"""Bad bytes in each kind of file: they cost what they are in, and a sentence names the file. Nothing else is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.drills.drill import Drill
from tests.plugin.forked_runs import RunServer

pytestmark = pytest.mark.drill


def above_ascii(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"\xff\xfe" + content[-3:])


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 3 // 4)  # of two lines, the first stays whole


def empty(path: Path) -> None:
    os.truncate(path, 0)


def deep(path: Path) -> None:
    path.write_bytes(b'{"label":' + b"[" * 100_000)


def other_json(path: Path) -> None:
    path.write_text('{"label": 1, "began": [], "schema": {}}')


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def each(*damages: Callable[[Path], None]) -> pytest.MarkDecorator:
    """Return a marker that tries each of these."""
    return pytest.mark.parametrize("damage", damages, ids=[damage.__name__ for damage in damages])


def manifest(drill: Drill) -> Path:
    """Return the manifest of the sound model's artefact."""
    return next(path for path in drill.cache.glob("entries/*/manifest.json") if "model" in path.read_text())


@each(above_ascii, cut, other_json, a_pipe, a_device, a_folder)
def test_manifest(drill: Drill, damage: Callable[[Path], None]) -> None:
    drill.run("-k", "sound")
    damage(manifest(drill))
    ran = drill.run("-k", "sound")
    drill.verdict(ran, status=0, passed=1)
    drill.says(ran, r"the compile cache's entry \S+ was damaged \(.*\) and is made again; the damaged one is kept as")
    drill.nothing_left()
    assert "damaged" not in drill.nothing_lost(args=("-k", "sound")).out


@each(above_ascii, empty, a_pipe, a_device)
def test_artefact(drill: Drill, damage: Callable[[Path], None]) -> None:
    drill.run("-k", "sound")
    (artefact,) = drill.cache.glob("entries/*/content/artefact/model.fake.json")
    damage(artefact)
    ran = drill.run("-k", "sound")
    drill.verdict(ran, status=0, passed=1)
    drill.says(ran, r"was damaged \(artefact/model.fake.json \S+ .*\) and is made again")
    drill.nothing_left()
    assert "damaged" not in drill.nothing_lost(args=("-k", "sound")).out


JOURNAL_TESTS = """
import os
import pytest

@pytest.mark.accelerator("fake", p50_ms=50)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_model(accel_model, number):
    if number == 3 and "ENDS" in os.environ:
        pytest.exit("enough", returncode=1)
    accel_model("model.fake.json", name=f"model {number}").check()
"""


@each(above_ascii, cut, empty, other_json, a_pipe, a_folder)
def test_journal(drill: Drill, damage: Callable[[Path], None]) -> None:
    drill.write("test_models.py", JOURNAL_TESTS)
    drill.run(environment={"ENDS": "1"})
    (journal,) = drill.cache.glob("journals/*/*.jsonl")
    damage(journal)
    ran = drill.run("--accel-resume")
    drill.verdict(ran, status=0, passed=3)
    drill.says(ran, "no-baseline|lines that cannot be read|nothing that can be read")
    if damage in (above_ascii, cut):  # which hurts the last line alone
        assert "resumed: 1 result is from the run of" in ran.out
    drill.nothing_left()
    drill.nothing_lost(lambda: list(drill.cache.glob("journals/*/*.jsonl")) == [], passed=3, args=("--accel-resume",))


BASELINE_SAVED = ("--accel-save-baseline", "-k", "sound")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, run_server: RunServer) -> Path:
    """A project with a baseline."""
    drill = Drill(tmp_path_factory.mktemp("saved"), run_server)
    drill.save_quickly()
    ran = drill.run(*BASELINE_SAVED)
    assert ran.outcomes == {"passed": 1, "deselected": 1}, ran.out
    return drill.folder


@each(above_ascii, cut, deep, a_pipe, a_folder)
def test_baseline(drill: Drill, saved: Path, damage: Callable[[Path], None]) -> None:
    shutil.copytree(saved / "baselines", drill.folder / "baselines")
    shutil.copytree(saved / "cache", drill.cache)
    (baseline,) = (drill.folder / "baselines").glob("*/*/*.json")
    whole = baseline.read_bytes()
    damage(baseline)
    ran = drill.run("-k", "sound")
    drill.verdict(ran, failed=1)
    drill.says(ran, r"baselines/\S+/model/fake\.json.*(restore it from version control|choose another folder)")
    drill.nothing_left()
    shutil.rmtree(drill.folder / "baselines")
    baseline.parent.mkdir(parents=True)
    baseline.write_bytes(whole)
    drill.nothing_lost(lambda: baseline.read_bytes() == whole, args=("-k", "sound", "-o", "accel_compare_budget=1"))


DATA_TEST = """
import pytest

@pytest.mark.accelerator("fake", p50_ms=50)
def test_sound(accel_model):
    accel_model("model.fake.json").check("data.npz")
"""


@each(above_ascii, cut, empty, a_pipe)
def test_dataset(drill: Drill, damage: Callable[[Path], None]) -> None:
    drill.write("test_models.py", DATA_TEST)
    data = drill.folder / "data.npz"
    np.savez(data, x=np.ones((20, 4), np.float32))
    damage(data)
    ran = drill.run()
    drill.verdict(ran, failed=1)
    drill.says(ran, r"data\.npz: not a readable \.npz file: .*Write it with np\.savez, without objects")
    drill.nothing_left()
    shutil.rmtree(data) if data.is_dir() else data.unlink()
    np.savez(data, x=np.ones((20, 4), np.float32))
    drill.nothing_lost()


@each(above_ascii, empty, other_json)
def test_model(drill: Drill, damage: Callable[[Path], None]) -> None:
    path = drill.model("broken", latency_ms=2.0)
    damage(path)
    ran = drill.run()
    drill.verdict(ran, failed=1, passed=1)
    drill.says(ran, r"broken\.fake\.json: ")
    drill.nothing_left()
    drill.nothing_lost_in(ran)


@pytest.mark.parametrize("place", ["building", "entries", "locks", "in-use", "journals", "damaged"])
def test_file_for_a_folder_of_the_cache(drill: Drill, place: str) -> None:
    drill.cache.mkdir()
    (drill.cache / place).touch()
    ran = drill.run("-k", "sound")
    assert "INTERNALERROR" not in ran.out
    if place in ("journals", "damaged"):  # which no result depends on
        drill.verdict(ran, status=0, passed=1)
    else:
        drill.verdict(ran, **ran.ends)
    drill.says(ran, r"--accel-cache-dir|could not be resumed|no-baseline")
    drill.nothing_left("building", "in-use")
    (drill.cache / place).unlink()
    drill.nothing_lost(args=("-k", "sound"))


def test_record_of_a_run(drill: Drill) -> None:
    """What another machine has sent may be anything."""
    drill.run("-k", "sound", "--accel-report=run.json")
    record = drill.folder / "run.json"
    whole = json.loads(record.read_text(encoding="utf-8"))
    whole["tests"][0]["measurement"]["wall_s"] = 0
    record.write_text(json.dumps(whole), encoding="utf-8")
    ran = drill.command_line("report", "run.json", "-o", "all.md")
    assert ran.status == 2
    drill.answers["verdict"] = "Traceback" not in ran.out
    drill.says(ran, r"run\.json is not a record of a pytest-accel run: .*wall_s")
    drill.nothing_left()
    drill.nothing_lost(lambda: not (drill.folder / "all.md").exists(), args=("-k", "sound"))
