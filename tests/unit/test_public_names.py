from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_accel
from pytest_accel import Accelerator, AccelModel, CompiledModel, Latency, Present, TestRecord

TEXT = Path(pytest_accel.__file__).read_text("utf-8")
#: TYPED maps each name that a type checker sees in the package to the module that it is from.
TYPED = {
    alias.name: node.module
    for node in ast.walk(ast.parse(TEXT))
    if isinstance(node, ast.ImportFrom) and node.module != "__future__"
    for alias in node.names
    if node.module is not None and node.module.startswith("pytest_accel.")
}
NEW_MODULES = "import sys; before = set(sys.modules); import pytest_accel; print(*sorted(set(sys.modules) - before))"


def test_the_names_are_sorted() -> None:
    assert pytest_accel.__all__ == sorted(pytest_accel.__all__)


@pytest.mark.parametrize("name", pytest_accel.__all__)
def test_a_name_is_what_its_own_module_and_type_checkers_call_so(name: str) -> None:
    public = getattr(pytest_accel, name)
    assert (public.__module__, public.__name__) == (TYPED[name], name)
    assert public is getattr(importlib.import_module(TYPED[name]), name)


def test_type_checkers_see_no_other_name() -> None:
    assert sorted(TYPED) == pytest_accel.__all__


def test_every_name_can_be_listed_and_no_other_can_be_asked_for() -> None:
    assert {*pytest_accel.__all__, "__version__"} <= set(dir(pytest_accel))
    with pytest.raises(AttributeError, match="module 'pytest_accel' has no attribute 'Acelerator'"):
        pytest_accel.Acelerator  # noqa: B018 # the look-up is what is tested


def test_the_package_imports_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", NEW_MODULES], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - {"__future__"} == {"pytest_accel"}


def test_a_worker_of_python_3_8_can_import_it() -> None:
    ast.parse(TEXT, feature_version=(3, 8))


def annotated(accel_model: AccelModel) -> tuple[CompiledModel, Latency, TestRecord]:
    """What a user writes; mypy looks at it, and it is never called."""
    model = accel_model("model.onnx")
    return model, model.measure(), model.check()


class Annotated(Accelerator):
    """What the author of an accelerator writes; mypy looks at it, and nobody makes one."""

    def probe(self) -> Present:
        return Present("a device", {})
