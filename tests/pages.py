"""The documentation's pages, taken apart into what tests look at: blocks, code, links and sentences.

A page is Markdown as code hosts show it. Nothing is judged here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_ITEM = re.compile(r"(?:[-*]|\d+\.) ")
#: The words for what a step runs: of GitHub, of GitLab, and of Buildkite.
_RUNS = ("run", "script", "commands")
#: A sentence ends where the next one begins with a capital letter, a code span or a bracket.
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\[(`\"'])")


@dataclass(frozen=True)
class Page:
    """One page; ``name`` is its path below the root, such as ``docs/sweeps.md``."""

    name: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def without_blocks(self) -> str:
        """The text without fenced blocks."""
        return _BLOCK.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """The contents of all fenced blocks of a language."""
        return [content for found, content in _BLOCK.findall(self.text) if found == language]

    def files(self, language: str) -> dict[str, str]:
        """The blocks that begin with a file's name in a comment, by that name."""
        named = {block.partition("\n")[0].removeprefix("# "): block for block in self.blocks(language)}
        return {name: block for name, block in named.items() if re.fullmatch(r"[\w./-]+\.\w+", name)}

    @cached_property
    def code(self) -> list[str]:
        """All code spans."""
        return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.without_blocks)]

    @cached_property
    def links(self) -> list[str]:
        """The targets of all links."""
        return [target for _, target in _LINK.findall(self.without_blocks)]

    @cached_property
    def headings(self) -> list[str]:
        """The texts of all headings, as they are written."""
        return re.findall(r"^#+ (.+)$", self.without_blocks, re.MULTILINE)

    @property
    def scripts(self) -> Iterator[tuple[str, str]]:
        """What the steps of the page's CI files run, each with the file's name."""
        for name, text in self.files("yaml").items():
            for step in _steps(name, yaml.safe_load(text)):
                yield from ((name, script) for key in _RUNS if key in step for script in _as_list(step[key]))

    @property
    def anchors(self) -> set[str]:
        """The anchors that a code host gives the headings."""
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in self.headings}

    @property
    def sentences(self) -> list[str]:
        """Every sentence of paragraphs and lists; code spans are one word each, tables and headings are left out."""
        return [
            sentence for paragraph in self._paragraphs() for sentence in _END.split(paragraph) if word_count(sentence)
        ]

    def _paragraphs(self) -> Iterator[str]:
        lines: list[str] = []
        for line in [*map(str.strip, self.without_blocks.splitlines()), ""]:
            begins = _ITEM.match(line)
            if not line or begins or line.startswith(("#", "|", "<!--")):
                yield _plain(" ".join(lines))
                lines = []
            if line and not line.startswith(("#", "|", "<!--")):
                lines.append(line[begins.end() :] if begins else line)


def _steps(name: str, ci_file: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of a file of GitHub's or Buildkite's, and the jobs of one of GitLab's, which have none."""
    if name.startswith(".github/"):
        yield from (step for job in ci_file["jobs"].values() for step in job["steps"])
    elif name.startswith(".buildkite/"):
        yield from ci_file["steps"]
    else:
        yield from (job for job in ci_file.values() if isinstance(job, dict))


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _plain(text: str) -> str:
    """Text as it is read: a link's words, and ``Code`` for a code span."""
    return re.sub(r"[*]{1,2}([^*]+)[*]{1,2}", r"\1", _LINK.sub(r"\1", re.sub(r"`[^`]+`", "Code", text)))


def word_count(sentence: str) -> int:
    """The words of a sentence; signs alone are none."""
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


README = Page("README.md")
DOCS = [Page(path.relative_to(ROOT).as_posix()) for path in sorted((ROOT / "docs").rglob("*.md"))]
#: All pages that a user reads, and with them what a contributor does.
USER_PAGES = [README, *DOCS]
PAGES = [*USER_PAGES, Page("CONTRIBUTING.md"), Page("CHANGELOG.md")]
