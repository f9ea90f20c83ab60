"""The published contract of accelerators, in a pytest of its own and on the real device."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.acceptance.finding import Broken, Finding

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject

#: RTOL is how far outputs of the same inputs may differ from one process to the next, where a library may choose
#: another algorithm.
RTOL = 1e-5
_FILE = """
import pytest
from {module} import {name}

from pytest_accel.testing.contract import AcceleratorContract


class TestContract(AcceleratorContract):
    accelerator = {name}
    rtol = {rtol}

    @pytest.fixture(scope="class")
    @classmethod
    def python(cls):
        return {python!r}
"""
#: _PROBED is the test that is skipped where the accelerator is missing.
_PROBED = "test_the_probe_tells_what_was_found"
#: _PYTESTS are variables of an outer pytest, which this one is no part of.
_PYTESTS = ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_CURRENT_TEST")
_LOOK_EVERY_S = 0.5
#: _MOST_S is the number of seconds that the contract may take.
_MOST_S = 1800.0


def check_contract(subject: Subject) -> Finding:
    """Hold where every test of the contract passes, or is skipped by the accelerator's own word."""
    folder = subject.folder / "contract"
    folder.mkdir()
    implementation = subject.implementation
    text = _FILE.format(
        module=implementation.__module__,
        name=implementation.__name__,
        rtol=RTOL,
        python=subject.python or sys.executable,
    )
    (folder / "test_contract.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    with subject.alone():
        said = _run(subject, folder)
    tests = _tests(folder / "results.xml", said)
    failed = {name: words for name, (kind, words) in tests.items() if kind in ("failure", "error")}
    skipped = [words for kind, words in tests.values() if kind == "skipped"]
    if failed:
        name, words = next(iter(failed.items()))
        raise Broken(f"{len(failed)} of {len(tests)} tests of the contract fail, the first is {name}: {words}")
    if tests.get(_PROBED, ("", ""))[0] == "skipped" or not tests:
        raise Broken(f"the contract found no device: {'; '.join(dict.fromkeys(skipped)) or said[-500:]}")
    passed = len(tests) - len(skipped)
    also = f", {len(skipped)} skipped ({'; '.join(dict.fromkeys(skipped))})" if skipped else ""
    return Finding(f"{passed} tests pass{also}", {"tests_passed": passed})


def _run(subject: Subject, folder: Path) -> str:
    """Run pytest there and return what it prints."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}"]
    environ = {name: value for name, value in os.environ.items() if name not in _PYTESTS}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--junitxml=results.xml", "test_contract.py"],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environ,
        )
        try:
            subject.session.tell("holding it to the contract")
            for _ in range(round(_MOST_S / _LOOK_EVERY_S)):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_EVERY_S)
                    break
                subject.session.tell.tick()
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        return log.read().decode(errors="replace")


def _tests(results: Path, said: str) -> dict[str, tuple[str, str]]:
    """Return how each test ended and the first line about it: "failure", "error", "skipped", or "" where it passed."""
    if not results.is_file():
        raise Broken(f"pytest ended without results: {said[-500:]}")
    found: dict[str, tuple[str, str]] = {}
    for case in ElementTree.parse(results).iter("testcase"):
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        words = "" if bad is None else (bad.get("message") or "").partition("\n")[0]
        found[str(case.get("name"))] = ("" if bad is None else bad.tag, words)
    return found
