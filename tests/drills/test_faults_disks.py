"""Full, read-only and vanishing disks for each kind of file: told with a way out, and the older file stays whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.drills.drill import TAIL_TESTS, Drill, can_mount, disks

pytestmark = pytest.mark.drill

needs_disks = pytest.mark.skipif(not can_mount(), reason="no file system of one's own can be mounted here")

#: What the options of tmpfs make of a folder.
DISKS = {"full": "full", "no-inodes": "nr_inodes=1", "read-only": "ro"}


def kept_file(drill: Drill, name: str) -> Path:
    """Write an older file, which is to stay as it is."""
    path = drill.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("older", encoding="utf-8")
    drill.keep(path)
    return path


@needs_disks
def test_cache_that_fills_up(drill: Drill) -> None:
    """What does not fit is written by the worker, which can only tell what it could not write."""
    drill.cache.mkdir()
    drill.model("broken", operators={f"operator {number}": "fake:float32" for number in range(4000)})
    ran = drill.run(mounts=disks({drill.cache: "size=96k"}), starts=["fake"])
    drill.verdict(ran, failed=1, passed=1)
    drill.says(ran, r"the compile cache \S+ cannot be used: No space left .*; free some space, run `pytest-accel cache")
    drill.nothing_left()
    drill.nothing_lost(passed=2)


@needs_disks
@pytest.mark.parametrize("disk", DISKS)
def test_cache(drill: Drill, disk: str) -> None:
    drill.cache.mkdir()
    ran = drill.run(mounts=disks({drill.cache: DISKS[disk]}), starts=["fake"])
    drill.verdict(ran, failed=2)
    drill.says(ran, r"the compile cache \S+ cannot be used: (No space left|Read-only).*--accel-cache-dir")
    drill.nothing_left()
    drill.nothing_lost(passed=2)


@needs_disks
@pytest.mark.parametrize("disk", DISKS)
def test_baselines(drill: Drill, disk: str) -> None:
    folder = drill.folder / "baselines"
    folder.mkdir()
    drill.save_quickly()
    ran = drill.run("--accel-save-baseline", "-k", "sound", mounts=disks({folder: DISKS[disk]}))
    drill.verdict(ran, failed=1)
    drill.says(
        ran, r"model\S* cannot be written: (No space left|Read-only).*choose another folder with --accel-baseline"
    )
    drill.nothing_left()
    drill.nothing_lost(args=("--accel-save-baseline", "-k", "sound"))


@needs_disks
@pytest.mark.parametrize(("disk", "suffix"), list(zip(DISKS, ("json", "html", "md"), strict=True)))
def test_report(drill: Drill, disk: str, suffix: str) -> None:
    older = kept_file(drill, f"reports/run.{suffix}")
    mounts = {older.parent: DISKS[disk]}
    report = f"--accel-report={older.relative_to(drill.folder)}"
    ran = drill.run("-k", "sound", report, mounts=disks(mounts))
    drill.verdict(ran, status=1, passed=1)
    drill.says(ran, rf"--accel-report=.*run\.{suffix}: (No space left|Read-only).*; name a file that can be written")
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


def test_report_cut_short(drill: Drill) -> None:
    older = kept_file(drill, "run.json")
    drill.write("test_models.py", TAIL_TESTS)
    limit = 'ulimit -f 8; exec "$@"'  # kilobytes of a file; a record has more
    ran = drill.run("-k", "sound", "--accel-report=run.json", within=["bash", "-c", f"trap '' XFSZ; {limit}", "sh"])
    drill.verdict(ran, status=1, passed=1)
    drill.says(ran, r"--accel-report=.*run\.json: File too large; name a file that can be written")
    drill.nothing_left()
    assert [path.name for path in drill.folder.glob("*run*")] == [older.name]
    drill.nothing_lost(args=("-k", "sound"))


@needs_disks
@pytest.mark.parametrize("disk", DISKS)
def test_journal(drill: Drill, disk: str) -> None:
    folder = drill.cache / "journals"
    folder.mkdir(parents=True)
    ran = drill.run("-k", "sound", mounts=disks({folder: DISKS[disk]}))
    drill.verdict(ran, status=0, passed=1)
    drill.says(ran, r"this run could not be resumed after an interruption: .*(No space left|Read-only)")
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


@needs_disks
@pytest.mark.parametrize("disk", ["no-inodes", "read-only"])
def test_locks(drill: Drill, disk: str) -> None:
    folder = drill.folder / "locks"
    folder.mkdir()
    drill.write("pytest.ini", "[pytest]\naccel_lock_dir = locks\n")
    ran = drill.run("-k", "sound", mounts=disks({folder: DISKS[disk]}))
    drill.verdict(ran, failed=1)
    drill.says(
        ran, r"accel_lock_dir: \S+ cannot hold the lock of a device: .*; choose another folder with that ini key"
    )
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


@needs_disks
@pytest.mark.parametrize("disk", DISKS)
def test_temporary(drill: Drill, disk: str) -> None:
    """Python itself takes another folder where this one is no good. One that fills up later is told."""
    ran = drill.run("-k", "sound", mounts=disks({drill.temporary: DISKS[disk]}), starts=["fake"])
    drill.verdict(ran, passed=1)
    drill.says(ran, "no-baseline")
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


@needs_disks
def test_temporary_that_fills_up(drill: Drill) -> None:
    drill.write("test_models.py", FILLS)
    ran = drill.run("-k", "sound", mounts=disks({drill.temporary: "nr_inodes=6"}), starts=["fake"])
    drill.verdict(ran, errors=1)
    drill.says(ran, r"the temporary folder cannot be used, .*: No space left .*; free some space there, or set TMPDIR")
    drill.nothing_left()
    drill.write("test_models.py", FILLS.replace("range(10)", "()"))
    drill.nothing_lost(args=("-k", "sound"))


FILLS = """
import tempfile
from contextlib import suppress
from pathlib import Path
import pytest

@pytest.fixture(autouse=True)
def fill():
    for number in range(10):
        with suppress(OSError):
            Path(tempfile.gettempdir(), f"filler-{number}").touch()

@pytest.mark.accelerator("fake", p50_ms=50)
def test_sound(accel_model):
    accel_model("model.fake.json").check()
"""


VANISHES = """
import shutil
import pytest

@pytest.fixture(autouse=True)
def vanish(request):
    if {when!r} == "before":
        shutil.rmtree({folder!r}, ignore_errors=True)
    yield

@pytest.mark.accelerator("fake", p50_ms=50)
@pytest.mark.parametrize("number", range({count}))
def test_model(accel_model, number):
    candidate = accel_model("model.fake.json")
    if {when!r} == "between":
        shutil.rmtree({folder!r}, ignore_errors=True)
    candidate.check()
"""


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("what", ["cache", "temporary", "locks", "baselines"])
def test_vanishing(drill: Drill, what: str, when: str) -> None:
    """Somebody cleans up while the run goes on: what can be made again is made again, or it is told."""
    folder = {
        "cache": drill.cache,
        "temporary": drill.temporary,
        "locks": drill.temporary / f"pytest-accel-{os.getuid()}",
        "baselines": drill.folder / "baselines",
    }[what]
    count = 1 if what == "baselines" else 2  # both would save the same one
    drill.save_quickly()
    drill.write("test_models.py", VANISHES.format(folder=str(folder), when=when, count=count))
    ran = drill.run(*(["--accel-save-baseline"] if what == "baselines" else []))
    drill.temporary.mkdir(exist_ok=True)
    passed, failed = ran.outcomes.get("passed", 0), ran.outcomes.get("failed", 0) + ran.outcomes.get("errors", 0)
    assert passed + failed == count, ran.out
    assert "INTERNALERROR" not in ran.out
    drill.verdict(ran, **ran.ends)
    drill.says(ran, r"--accel-cache-dir|temporary folder|accel_lock_dir" if failed else r"no-baseline|pass|baseline")
    drill.nothing_left()
    shutil.rmtree(drill.cache, ignore_errors=True)
    drill.write("test_models.py", VANISHES.format(folder=str(folder), when="never", count=count))
    drill.nothing_lost(passed=count)
