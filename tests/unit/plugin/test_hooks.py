from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pytest_accel.plugin import hooks

MODULE = ast.parse(Path(hooks.__file__).read_text("utf-8"))
FUNCTIONS = [node for node in MODULE.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_a_hook_hands_on_in_a_few_lines(function: ast.FunctionDef) -> None:
    first = function.body[1 if ast.get_docstring(function) else 0]
    assert (function.end_lineno or 0) - first.lineno < 8
