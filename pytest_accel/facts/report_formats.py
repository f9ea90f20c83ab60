"""The formats of reports, by the suffixes of their files. How each is written is told in `pytest_accel.report`."""

from __future__ import annotations

from pathlib import Path

#: RECORD is the suffix of the record of a run, and PAGE that of the page.
RECORD, PAGE = ".json", ".html"
#: SUFFIXES are the suffixes of all formats, some of which end as others do.
SUFFIXES = (RECORD, PAGE, ".md", ".prom", ".bmf.json", ".gab.json")


def suffix_of(path: Path) -> str:
    """Return the suffix of a known format, the longest that fits; empty where none does."""
    fitting = (suffix for suffix in SUFFIXES if path.name.endswith(suffix) and path.name != suffix)
    return max(fitting, key=len, default="")
