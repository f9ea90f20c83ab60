"""The architecture, read off every module's imports: who may know whom, and who may name pytest or an SDK."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import pytest_accel

#: From the story that a user starts down to the plain facts; an import points down or stays in its row. The rank of a
#: package is that of everything inside. What is imported for types alone is not looked at: it binds nobody at run time.
RANKS: Mapping[int, str] = {
    7: "plugin",
    # `testing` is for authors outside: it may use everything below, and nothing here may use it.
    6: "report commands testing",
    4: "check verdict store machine inputs processes session measuring regression",
    3: "stats",
    2: "facts",
    1: "worker",
}
RANK = {f"pytest_accel.{name}": rank for rank, names in RANKS.items() for name in names.split()}

ROOT = Path(pytest_accel.__file__).parent
SOURCES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
    for path in sorted(ROOT.rglob("*.py"))
}
MODULES = {name: ast.parse(source) for name, source in SOURCES.items()}
WORKER_ROOMS = [name for name in MODULES if name.split(".")[1:2] == ["worker"]]

#: Loaded by every pytest run in the environment, whether it has accelerator tests or not.
ENTRANCE = {
    f"pytest_accel.{name}"
    for name in ("plugin.hooks", "plugin.options", "plugin.hookspecs", "plugin.run_summary", "facts.settings")
}
KNOW_PYTEST = {
    *(f"pytest_accel.plugin.{name}" for name in ("hooks", "options", "run_summary", "benchmark_export")),
    "pytest_accel.testing.contract",
}
#: What the package depends on; frameworks and SDKs are imported where they are used, in a worker.
DEPENDENCIES = {"pytest", "numpy", "msgspec", "filelock", "platformdirs", "psutil", "execnet"}

each_module = pytest.mark.parametrize("module", MODULES)


def imports(module: str, *, anywhere: bool = True) -> set[str]:
    """The modules that a module imports when it runs; only those that it imports itself by when not ``anywhere``."""
    return {imported for node in _statements(MODULES[module], anywhere) for imported in _named(node)}


def _statements(node: ast.AST, anywhere: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not anywhere:
            continue
        yield child
        yield from _statements(child, anywhere)


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.module is not None, "a relative import"
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name if name in MODULES else node.module for name in inside)


def rank(module: str) -> int:
    """The rank of a module is that of the package it is in; the bare package holds a version and knows nothing."""
    return 0 if module == "pytest_accel" else RANK[".".join(module.split(".")[:2])]


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] == "pytest_accel"}


def foreign(names: set[str]) -> set[str]:
    """The top packages among the names that are neither ours nor the standard library's."""
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"pytest_accel", "__future__"}


@each_module
def test_imports_point_down_or_sideways(module: str) -> None:
    assert {name for name in own(imports(module)) if rank(name) > rank(module)} == set()


def test_nobody_imports_in_a_circle() -> None:
    graphlib.TopologicalSorter({name: own(imports(name, anywhere=False)) - {name} for name in MODULES}).prepare()


@each_module
def test_nothing_but_dependencies_is_imported_before_it_is_used(module: str) -> None:
    assert foreign(imports(module, anywhere=False)) <= DEPENDENCIES


@each_module
def test_only_the_top_knows_pytest(module: str) -> None:
    knows = "pytest" in foreign(imports(module)) or "_pytest" in foreign(imports(module))
    assert knows == (module in KNOW_PYTEST)


@pytest.mark.parametrize("module", sorted(ENTRANCE))
def test_a_run_without_accelerator_tests_loads_next_to_nothing(module: str) -> None:
    names = imports(module, anywhere=False)
    assert foreign(names) <= {"pytest"}
    assert own(names) <= {*ENTRANCE, "pytest_accel"}


@pytest.mark.parametrize("module", WORKER_ROOMS)
def test_worker_rooms_stand_alone(module: str) -> None:
    assert foreign(imports(module, anywhere=False)) <= {"numpy"}
    assert own(imports(module)) <= set(WORKER_ROOMS)


@pytest.mark.parametrize("module", WORKER_ROOMS)
def test_worker_rooms_are_python_3_8(module: str) -> None:
    ast.parse(SOURCES[module], feature_version=(3, 8))


@each_module
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(MODULES[module])


@each_module
def test_no_module_is_a_drawer_for_everything(module: str) -> None:
    assert {"util", "utils", "helper", "helpers", "common", "misc"}.isdisjoint(module.split("."))
