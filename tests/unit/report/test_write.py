from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.report import write as module
from pytest_accel.report.write import require_format, write
from tests.unit import facts


def raising(error: OSError) -> Callable[[int], None]:
    def raises(descriptor: int) -> None:
        raise error

    return raises


def without_jinja2(name: str) -> ModuleSpec | None:
    return None if name == "jinja2" else ModuleSpec(name, None)


@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        (".json", '{\n "schema": 1'),
        (".html", "<!doctype html>"),
        (".md", "<!-- pytest-accel -->\n## Passed"),
        (".prom", "# HELP pytest_accel_passed "),
        (".bmf.json", '{\n "resnet50 test_resnet50.py::'),
        (".gab.json", '[\n {\n  "name": "resnet50 test_resnet50.py::'),
    ],
)
def test_the_suffix_says_the_format(tmp_path: Path, suffix: str, start: str) -> None:
    path = tmp_path / "new" / f"run{suffix}"
    write([facts.run(facts.record(measurement=facts.measurement()))], path)
    assert path.read_text(encoding="utf-8").lstrip().startswith(start)


@pytest.mark.parametrize(
    ("formats", "known"),
    [
        (module.FORMATS, r"\.json, \.html, \.md, \.prom, \.bmf\.json, \.gab\.json"),
        (module.OF_SEVERAL_RUNS, r"\.html, \.md, \.prom, \.bmf\.json, \.gab\.json"),
    ],
)
@pytest.mark.parametrize("name", ["run.pdf", "run", ".prom", "run.bmf", "run.gab.json.txt"])
def test_an_unknown_suffix_is_told_the_known_ones(formats: Collection[str], known: str, name: str) -> None:
    message = rf"^{re.escape(name)}: the suffix says the format, and only {known} are known$"
    with pytest.raises(UsageError, match=message):
        require_format(Path("a") / name, formats)


def test_a_record_is_not_of_several_runs() -> None:
    with pytest.raises(UsageError, match=r"^run\.json: the suffix says the format"):
        require_format(Path("run.json"), module.OF_SEVERAL_RUNS)
    require_format(Path("run.bmf.json"), module.OF_SEVERAL_RUNS)


def test_the_page_needs_an_extra_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", without_jinja2)
    require_format(Path("run.json"))
    require_format(Path("run.md"))
    with pytest.raises(UsageError, match=r"^run\.html: the page needs jinja2.*: pip install 'pytest-accel\[report\]'$"):
        require_format(Path("run.html"))


def test_a_report_that_cannot_be_written_whole_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.md"
    path.write_text("older", encoding="utf-8")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", raising(full))
    with pytest.raises(AccelError, match=r"run\.md: No space left on device; name a file that can be written"):
        write([facts.run()], path)
    assert [(left.name, left.read_text(encoding="utf-8")) for left in tmp_path.iterdir()] == [("run.md", "older")]
