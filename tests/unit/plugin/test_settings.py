from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pytest_accel.facts import settings
from pytest_accel.facts.report_formats import SUFFIXES
from pytest_accel.facts.settings import Settings, binding_settings
from pytest_accel.report.write import FORMATS

LINES = Path(settings.__file__).read_text("utf-8").splitlines()
(CLASS,) = [
    node for node in ast.parse("\n".join(LINES)).body if isinstance(node, ast.ClassDef) and node.name == "Settings"
]


@pytest.mark.parametrize("field", [node for node in CLASS.body if isinstance(node, ast.AnnAssign)], ids=ast.unparse)
def test_a_line_says_what_each_setting_is(field: ast.AnnAssign) -> None:
    assert LINES[field.lineno - 2].startswith(f"    #: ``{ast.unparse(field.target)}`` ")


def test_a_result_depends_on_what_changes_it() -> None:
    changing = {
        "save",
        "in_process",
        "compare_budget_s",
        "confidence",
        "first_divergence",
        "github",
        "against",
        "compare",
    }
    assert set(binding_settings()) == {*changing, "compile_only"}


@pytest.mark.parametrize(
    ("reports", "keeps"),
    [(["run.json"], True), (["run.html", "run.md"], False), (["run.bmf.json", "run.gab.json"], False)],
)
def test_a_record_is_what_a_baseline_can_be_made_of(tmp_path: Path, reports: list[str], keeps: bool) -> None:
    settings = Settings(rootdir=tmp_path, baseline_dir=tmp_path, reports=tuple(map(Path, reports)))
    assert settings.keeps_record is keeps


def test_every_format_of_a_report_is_written() -> None:
    assert tuple(FORMATS) == SUFFIXES
