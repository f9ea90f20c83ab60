from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pytest_accel.check.accel_model import AccelModel
from pytest_accel.inputs.models import FILE_KINDS
from pytest_accel.plugin import hooks

MODULE = ast.parse(Path(hooks.__file__).read_text("utf-8"))
FUNCTIONS = [node for node in MODULE.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_a_hook_hands_on_in_a_few_lines(function: ast.FunctionDef) -> None:
    first = function.body[1 if ast.get_docstring(function) else 0]
    assert (function.end_lineno or 0) - first.lineno < 8


@pytest.mark.parametrize("source", ["SavedModel", *FILE_KINDS, "Keras model", "PyTorch module", "callable"])
def test_the_fixtures_help_names_every_source(pytester: pytest.Pytester, source: str) -> None:
    printed = pytester.runpytest("--fixtures").stdout.str()
    of_fixture = printed[printed.index("\naccel_model") :].partition("\n\n")[0]
    of_call = AccelModel.__call__.__doc__ or ""
    for text in (of_fixture, of_call):
        assert source in " ".join(text.split())
