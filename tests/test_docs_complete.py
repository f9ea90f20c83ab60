"""README and docs/ leave nothing out, make nothing up, lead somewhere with every link, and read well.

That their examples run is tested in `tests.test_docs`.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points, metadata
from statistics import fmean

import pytest

from pytest_accel.acceptance.record import read
from pytest_accel.facts.records import Budgets
from pytest_accel.facts.verdicts import SEVERITY
from pytest_accel.inputs.registry import BUILTIN, Registry
from pytest_accel.report.acceptance_table import page_with, table
from pytest_accel.worker.accelerator import COMMON_OPTIONS
from tests.pages import DOCS, PAGES, README, ROOT, Page, word_count

MOST_LINES_OF_README = 150
MOST_WORDS, MOST_WORDS_ON_AVERAGE = 30, 15.9
OPTIONS, TROUBLE = Page("docs/options.md"), Page("docs/troubleshooting.md")


# Nothing is left out, and nothing is made up


@pytest.fixture(scope="module")
def help_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("empty")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def unnamed(words: Iterable[str], *pages: Page) -> list[str]:
    """The words with which no code span of these pages begins."""
    spans = [span for page in pages for span in page.code]
    return sorted(word for word in words if not any(re.match(rf"{re.escape(word)}(?![\w-])", span) for span in spans))


def test_every_option_and_ini_key_is_on_a_page(help_text: str) -> None:
    options = set(re.findall(r"^  (--accel[\w-]*)", help_text, re.MULTILINE))
    keys = set(re.findall(r"^  (accel_\w+) \(", help_text, re.MULTILINE))
    assert len(options) > 10
    assert len(keys) > 20
    assert unnamed(options | keys, OPTIONS) == []
    named = {word for page in PAGES for word in re.findall(r"(?<![\w-])--accel[\w-]*[\w]", page.text)}
    assert sorted(named - options - {"--accel-marked-to"}) == []
    named = {word for page in PAGES for word in re.findall(r"(?<![\w.-])accel_[a-z_]+[a-z]", page.text)}
    assert sorted(named - keys - {"accel_model"}) == []


def test_every_budget_and_verdict_is_on_its_page() -> None:
    assert unnamed(Budgets.__struct_fields__, Page("docs/budgets-and-load-shapes.md")) == []
    assert unnamed(SEVERITY, Page("docs/measuring-and-verdicts.md")) == []


def test_every_argument_of_the_marker_is_on_a_page() -> None:
    general = {*COMMON_OPTIONS, "input_shapes", "on_compile_error", "prune"}
    assert unnamed(general, OPTIONS) == []
    for name in BUILTIN:
        pages = [page for page in DOCS if "/accelerators/" in page.name and f"`{name}`" in " ".join(page.headings)]
        assert pages, f"{name} is in no heading of docs/accelerators/"
        own = Registry().find(name).own_options.keys() - COMMON_OPTIONS.keys()
        assert unnamed(own, *pages) == [], name
    assert unnamed(BUILTIN, README) == []


def test_every_command_of_the_console_script_is_on_a_page() -> None:
    (script,) = entry_points(group="console_scripts", name="pytest-accel")
    commands: dict[str, str] = {}  # the help of each command without commands of its own
    waiting = [""]
    while waiting:
        command = waiting.pop()
        text = _help_of(script, command)
        if below := re.findall(r"^    ([a-z]+) ", text, re.MULTILINE):
            waiting += [f"{command} {name}".strip() for name in below]
        else:
            commands[f"pytest-accel {command}"] = text
    words = {
        *commands,
        *(option for text in commands.values() for option in re.findall(r"^  .*?(--[\w-]+)", text, re.M)),
    }
    assert {"pytest-accel baseline show", "pytest-accel advise", "--older-than"} <= words
    assert unnamed(words - {"--help"}, OPTIONS) == []


def _help_of(script: EntryPoint, command: str) -> str:
    code = f"from {script.module} import {script.attr}; {script.attr}({[*command.split(), '--help']!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_table_of_situations_is_the_one_that_is_tested() -> None:
    tests = (ROOT / "tests" / "plugin" / "test_accel_strict.py").read_text(encoding="utf-8")
    situations = re.search(r"^\| situation \|.*?\n\n", Page("docs/ci.md").text, re.MULTILINE | re.DOTALL)
    assert situations is not None
    assert len(situations[0].strip().splitlines()) - 2 == tests.count("@STRICT\n")


def test_every_message_of_troubleshooting_is_one_that_the_code_has() -> None:
    """A message is a heading; three dots stand for what differs."""
    known = list(_texts_in_the_code())
    messages = [heading.strip("`") for heading in TROUBLE.headings if heading.startswith("`")]
    assert len(messages) > 40
    patterns = {message: ".*".join(map(re.escape, re.split(r" ?\.\.\. ?", message))) for message in messages}
    unknown = [message for message, pattern in patterns.items() if not any(re.search(pattern, text) for text in known)]
    assert unknown == []


def _texts_in_the_code() -> Iterator[str]:
    """Every string of the package, with nothing in the place of what is put in."""
    for path in sorted((ROOT / "pytest_accel").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(each.value) if isinstance(each, ast.Constant) else "" for each in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_environment_variables_are_ones_that_the_code_reads() -> None:
    known = "\n".join(_texts_in_the_code())
    named = {word for page in PAGES for word in re.findall(r"\bACCEL_[A-Z0-9_]+[A-Z0-9]", page.text)}
    assert sorted(word for word in named if word not in known) == []


def test_every_extra_is_in_the_readme_and_no_other_is_named() -> None:
    extras = set(metadata("pytest-accel").get_all("Provides-Extra") or ())
    assert len(extras) > 10
    assert sorted(extras - set(README.code)) == []
    asked = [names for page in PAGES for names in re.findall(r"pytest-accel\[([\w,-]+)\]", page.text)]
    assert sorted({name for names in asked for name in names.split(",")} - extras) == []


def test_every_path_and_module_that_is_named_is_there() -> None:
    text = "\n".join(page.text for page in PAGES)
    paths = set(re.findall(r"(?<![\w/.])(?:pytest_accel|tests)/[\w./-]*\w", text))
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    layout = next(part for part in Page("CONTRIBUTING.md").text.split("## ") if part.startswith("Layout"))
    folders = set(re.findall(r"`(?:pytest_accel/)?(\w+)/`", layout))
    packages = {path.parent.name for path in (ROOT / "pytest_accel").glob("*/__init__.py")}
    assert folders == packages
    for module, name in re.findall(r"\b(pytest_accel(?:\.[a-z_]+)+)\.([A-Z]\w+)", text):
        assert hasattr(importlib.import_module(module), name)


# Reading


def test_the_readme_is_one_page() -> None:
    assert len(README.text.splitlines()) <= MOST_LINES_OF_README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Page) -> None:
    lost = []
    for link in page.links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.path.parent / target).resolve() if target else page.path
        there = Page(path.relative_to(ROOT).as_posix())
        if not path.exists() or (anchor and anchor not in there.anchors):
            lost.append(link)
    assert lost == []


def test_every_page_is_in_the_index_and_every_index_is_in_the_readme() -> None:
    index = Page("docs/README.md")
    listed = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    assert sorted(page.name for page in DOCS if page != index and page.path not in listed) == []
    assert "docs/README.md" in README.links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short(page: Page) -> None:
    long = {sentence: count for sentence in page.sentences if (count := word_count(sentence)) > MOST_WORDS}
    assert long == {}
    assert fmean(map(word_count, page.sentences)) <= MOST_WORDS_ON_AVERAGE


def test_the_table_of_acceptances_is_made_from_the_stored_files() -> None:
    page = Page("docs/accelerators/acceptance.md")
    stored = [each for path in sorted((page.path.parent / "acceptance").glob("*.json")) for each in read(path)]
    made = page_with(page.text, table(stored, BUILTIN))
    assert page.text == made, "run the command above the table"
