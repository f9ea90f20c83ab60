from __future__ import annotations

import errno
import os
from collections.abc import Callable
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


@pytest.mark.parametrize(("suffix", "start"), [(".json", "{"), (".html", "<!doctype html>"), (".md", "## Passed")])
def test_the_suffix_says_the_format(tmp_path: Path, suffix: str, start: str) -> None:
    path = tmp_path / "new" / f"run{suffix}"
    write([facts.run(facts.record(measurement=facts.measurement()))], path)
    assert path.read_text(encoding="utf-8").lstrip().startswith(start)


@pytest.mark.parametrize(
    ("formats", "known"), [(module.FORMATS, r"\.json, \.html, \.md"), ((".html", ".md"), r"\.html, \.md")]
)
def test_an_unknown_suffix_is_told_the_known_ones(formats: tuple[str, ...], known: str) -> None:
    with pytest.raises(UsageError, match=rf"^run\.pdf: the suffix says the format, and only {known} are known$"):
        require_format(Path("a/run.pdf"), formats)


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
