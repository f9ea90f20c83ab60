"""Hostile environments, names and options: they do not matter, or are refused with what to change."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.drills.drill import TWO_TESTS, Drill

pytestmark = pytest.mark.drill

#: ENVIRONMENTS do not matter.
ENVIRONMENTS = {
    "C locale": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1 output": {"PYTHONIOENCODING": "latin-1"},
    "no home": {"HOME": "/nonexistent"},
    "optimised": {"PYTHONOPTIMIZE": "2"},
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "faulthandler": {"PYTHONFAULTHANDLER": "1", "PYTHONDEVMODE": "1"},
    "unset path": {"PATH": ""},
    "no color, narrow": {"COLUMNS": "1", "TERM": "dumb"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment(drill: Drill, name: str) -> None:
    ran = drill.run("-k", "sound", anew=True, environment=ENVIRONMENTS[name])
    drill.verdict(ran, status=0, passed=1)
    drill.says(ran, "no-baseline")
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


@pytest.mark.parametrize(
    "name", ["it's $HOME; *", "zwei\nZeilen", "ü☃", "a" * 150], ids=["shell", "lines", "words", "long"]
)
def test_temporary_folder(drill: Drill, name: str) -> None:
    (drill.temporary / name).mkdir()
    ran = drill.run("-k", "sound", environment={"TMPDIR": str(drill.temporary / name)})
    drill.verdict(ran, status=0, passed=1)
    drill.says(ran, "no-baseline")
    assert [path.name for path in (drill.temporary / name).iterdir()] == [f"pytest-accel-{os.getuid()}"]
    (drill.temporary / name / f"pytest-accel-{os.getuid()}").rename(drill.temporary / f"pytest-accel-{os.getuid()}")
    (drill.temporary / name).rmdir()
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


def test_temporary_folder_that_is_no_text(drill: Drill) -> None:
    folder = drill.temporary / "\udcff"
    folder.mkdir()
    ran = drill.run(environment={"TMPDIR": str(folder)})
    drill.verdict(ran, errors=2)
    drill.says(ran, r"which is no UTF-8 text: rename that file or folder")
    for path in folder.iterdir():
        assert path.name == f"pytest-accel-{os.getuid()}"
        path.rmdir() if not any(path.iterdir()) else None
    folder.rename(drill.temporary / f"pytest-accel-{os.getuid()}")
    drill.nothing_left()
    drill.nothing_lost(passed=2)


@pytest.mark.parametrize("printed", ["import sys; sys.stdout.write('hello\\n')", "import os; os._exit(3)"])
def test_start_of_python(drill: Drill, printed: str) -> None:
    """A ``sitecustomize`` that is meant for people, or that ends, in the interpreter of a worker."""
    folder = drill.folder / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import os\nif 'IN_A_RUN' in os.environ:\n    {printed}\n")
    drill.write("conftest.py", (drill.folder / "conftest.py").read_text() + "import os\nos.environ['IN_A_RUN'] = '1'\n")
    path = f"{folder}{os.pathsep}{drill.environment['PYTHONPATH']}"
    ran = drill.run(starts=["fake"], environment={"PYTHONPATH": path})
    drill.verdict(ran, errors=2)
    drill.says(ran, r"does not start as a Python .*sitecustomize|exited with status 3 during start; --accel-in-process")
    drill.nothing_left()
    drill.nothing_lost(passed=2)


#: NAMES of models, with quotes, dots and more than a file's name may have.
NAMES = ["../../etc", "a/b", "two\nlines", "☃ ü", "n" * 300, "con.", " ", "%s %d {}", "\udcff", "\x00"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_name_of_a_model(drill: Drill, name: str) -> None:
    source = TWO_TESTS.replace('"broken.fake.json")', f'"broken.fake.json", name={name!a})')
    drill.write("test_models.py", source)
    ran = drill.run("--accel-report=run.json", "--accel-report=run.md", "--junitxml=run.xml")
    drill.verdict(ran, **ran.ends)
    assert ran.outcomes.get("passed", 0) >= 1
    drill.says(ran, "no-baseline|name=")
    assert (drill.folder / "run.json").exists()
    drill.nothing_left()
    drill.nothing_lost_in(ran)


def test_name_of_a_folder(drill: Drill) -> None:
    """The project itself lies where no text leads."""
    moved = drill.folder.with_name("\udcff project")
    drill.folder.rename(moved)
    drill.folder, drill.cache = moved, drill.folder.with_name("cache")
    ran = drill.run()
    drill.verdict(
        ran, **{each: count for each, count in ran.outcomes.items() if each in ("passed", "failed", "errors")}
    )
    assert "passed" in ran.outcomes or "is no UTF-8 text" in ran.out, ran.out
    drill.says(ran, "no-baseline|which is no UTF-8 text: rename that file or folder")
    drill.nothing_left()
    drill.folder = moved.with_name("project")
    moved.rename(drill.folder)
    drill.nothing_lost(passed=2)


#: OPTIONS that cannot be right, and what they are told.
OPTIONS = {
    "cache is a device": (
        ["--accel-cache-dir=/dev/null"],
        r"cache /dev/null cannot be used: .*--accel-cache-dir",
    ),
    "cache is a file": (["--accel-cache-dir=test_models.py"], r"cannot be used: .*--accel-cache-dir"),
    "baselines are a file": (["--accel-baseline-dir=test_models.py"], r"--accel-baseline-dir"),
    "locks are a device": (["-o", "accel_lock_dir=/dev/null"], r"accel_lock_dir: /dev/null cannot hold the lock"),
    "report is a folder": (["--accel-report=folder.json"], r"--accel-report=.*folder\.json: .*name a file"),
    "report below a file": (
        ["--accel-report=test_models.py/x.json"],
        r"--accel-report=.*name a file that can be",
    ),
    "no time": (["--accel-run-timeout=1e-9"], r"--accel-run-timeout gives it more time"),
    "time is no number": (["--accel-run-timeout=nan"], r"accel_run_timeout=nan must be more than 0 seconds"),
    "lock timeout": (["-o", "accel_lock_timeout=-1"], r"accel_lock_timeout=-1 must be more than 0 seconds"),
    "no interpreter": (["-o", "accel_python=fake=/dev/null"], r"accel_python: .*there is no interpreter"),
    "huge budget": (["-o", f"accel_max_memory_mb=1{'0' * 400}"], r"accel_max_memory_mb|accel_<budget>"),
    "an empty name": (["--accelerator=,"], r"--accelerator=, has an empty name"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_option(drill: Drill, name: str) -> None:
    args, words = OPTIONS[name]
    (drill.folder / "folder.json").mkdir()
    ran = drill.run("-k", "sound", *args)
    assert ran.status not in (0, 5), ran.out
    drill.verdict(
        ran, **{each: count for each, count in ran.outcomes.items() if each in ("passed", "failed", "errors")}
    )
    drill.says(ran, words)
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


@pytest.mark.parametrize("limit", ["-n 40", "-v 3000000", "-c 0"], ids=["files", "memory", "cores"])
def test_limit_of_the_shell(drill: Drill, limit: str) -> None:
    ran = drill.run("-k", "sound", within=["bash", "-c", f'ulimit {limit}; exec "$@"', "sh"])
    drill.verdict(
        ran, **{each: count for each, count in ran.outcomes.items() if each in ("passed", "failed", "errors")}
    )
    drill.says(ran, "no-baseline|[Mm]emory|Too many open files")
    drill.nothing_left()
    drill.nothing_lost(args=("-k", "sound"))


def test_wrapper_for_an_interpreter(drill: Drill) -> None:
    """The interpreter of a worker is a script that starts a Python and waits for it."""
    wrapper = drill.write("wrapper", f'#!/bin/sh\n"{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    drill.write("pytest.ini", "[pytest]\naccel_python = fake=wrapper\n")
    drill.model("broken", failures={"load": {"how": "sigkill"}})
    ran = drill.run()
    drill.verdict(ran, failed=1, passed=1)
    drill.says(ran, r"the worker .* during load; --accel-in-process")
    drill.nothing_left()
    drill.nothing_lost_in(ran)


def test_locks_of_somebody_else(drill: Drill) -> None:
    """The folder of locks is a link that somebody has put into the machine's temporary folder."""
    (drill.temporary / f"pytest-accel-{os.getuid()}").symlink_to(drill.folder)
    ran = drill.run()
    drill.verdict(ran, failed=2)
    drill.says(ran, r"accel_lock_dir: \S+ cannot hold the lock of a device: it is a link, .*; choose another folder")
    Path(drill.temporary, f"pytest-accel-{os.getuid()}").unlink()
    drill.nothing_left()
    drill.nothing_lost(passed=2)
