"""The architecture, read off every module's imports: who may know whom, and who may name pytest or an SDK."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import pytest_accel

#: The floors of the house, from the story that a user starts down to the plain facts. An import points down: it never
#: climbs, and packages on one floor do not know each other. What is imported for types alone counts too.
FLOORS = (
    "plugin commands testing",
    "acceptance bisect",
    "report check",
    "regression",
    "measuring",
    "session",
    "inputs",
    "verdict store machine processes",
    "facts stats worker",
)
#: The same inside the worker's package: what starts, what answers, the accelerators, the machine, what they share, and
#: the contract.
WORKER_FLOORS = (
    "boot",
    "fork_server",
    "serve",
    "accelerators",
    "host",
    "timing formats hardware",
    "accelerator file_content kernel_files lanes redaction vendor_errors wire",
)


def _ranks(floors: tuple[str, ...], package: str) -> dict[str, int]:
    """The rank of each package, the highest at the top."""
    return {f"{package}.{name}": rank for rank, names in enumerate(reversed(floors)) for name in names.split()}


RANK = _ranks(FLOORS, "pytest_accel")
WORKER_RANK = _ranks(WORKER_FLOORS, "pytest_accel.worker")

#: FRONT_DOOR is the bare package. It shows users the names of all floors, and nobody inside goes through it.
FRONT_DOOR = "pytest_accel"

ROOT = Path(pytest_accel.__file__).parent
SOURCES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
    for path in sorted(ROOT.rglob("*.py"))
}
Modules = Mapping[str, ast.Module]
MODULES: Modules = {name: ast.parse(source) for name, source in SOURCES.items()}
WORKER_ROOMS = [name for name in MODULES if name.split(".")[1:2] == ["worker"]]

#: The modules of the plugin that are loaded by every pytest run, whether it has accelerator tests or not.
AT_START = [f"pytest_accel.plugin.{name}" for name in ["hooks", "options", "option_values", "run_summary", "state"]]
ENTRANCE = {"pytest_accel.facts.settings", "pytest_accel.plugin.hookspecs", *AT_START}
#: The modules of the plugin that the first accelerator test loads.
LATER = [f"pytest_accel.plugin.{name}" for name in ["collection", "hosts", "running", "report_data", "without_tests"]]
KNOW_PYTEST = {"pytest_accel.testing.contract", "pytest_accel.plugin.benchmark_export", *AT_START, *LATER}
#: What the package depends on; frameworks and SDKs are imported where they are used, in a worker.
DEPENDENCIES = {"pytest", "numpy", "msgspec", "filelock", "platformdirs", "psutil", "execnet", "packaging"}

#: Below this package a family of accelerators is one file or one folder.
FAMILIES = "pytest_accel.worker.accelerators."


def broken_in(modules: Iterable[str], rule: Callable[[str], set[str]]) -> dict[str, set[str]]:
    """What breaks the rule, by module. Two thousand tests of one line each would take longer than all that they do."""
    return {module: broken for module in modules if (broken := rule(module))}


def imports(module: str, *, anywhere: bool = True, types: bool = False, modules: Modules = MODULES) -> set[str]:
    """The modules that a module imports when it runs, with ``types`` also those that it names in annotations alone.

    Without ``anywhere`` only what it imports as soon as it is imported itself.
    """
    found = {imported for node in _statements(modules[module], anywhere, types) for imported in _named(node, modules)}
    return found - {module}


def _statements(node: ast.AST, anywhere: bool, types: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING" and not types:
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not anywhere:
            continue
        yield child
        yield from _statements(child, anywhere, types)


def _named(node: ast.AST, modules: Modules) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.module is not None, "a relative import"
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name if name in modules else node.module for name in inside)


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] == "pytest_accel"}


def foreign(names: set[str]) -> set[str]:
    """The top packages among the names that are neither ours nor the standard library's."""
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"pytest_accel", "__future__"}


def room(module: str) -> str:
    """The package that a module is in: the part of its name that has a rank."""
    depth = 3 if module.startswith("pytest_accel.worker.") else 2
    return ".".join(module.split(".")[:depth])


def without_rank(modules: Modules) -> set[str]:
    """The packages that nobody has given a floor; the bare packages have none."""
    bare = {FRONT_DOOR, "pytest_accel.worker"}
    return {room(name) for name in modules} - {*RANK, *WORKER_RANK} - bare


def rank(module: str, beside: str) -> int:
    """The rank of a module's room; the worker's own floors count only between two modules of the worker."""
    if all(name.startswith("pytest_accel.worker.") for name in (module, beside)):
        return WORKER_RANK[room(module)]
    return RANK[".".join(module.split(".")[:2])]


def not_downwards(module: str, modules: Modules) -> set[str]:
    """The imports of a module that climb, or that enter another room on its own floor."""
    if module == FRONT_DOOR:
        return own(imports(module, modules=modules))
    known = own(imports(module, types=True, modules=modules)) - {FRONT_DOOR, "pytest_accel.worker"}
    return {name for name in known if room(name) != room(module) and rank(name, module) >= rank(module, name)}


def family(module: str) -> str | None:
    """The family of accelerators that a module belongs to, None for a module outside of them."""
    return module.removeprefix(FAMILIES).partition(".")[0] if module.startswith(FAMILIES) else None


def other_families(module: str, modules: Modules) -> set[str]:
    """The imports by which a family of accelerators knows another one."""
    known = own(imports(module, types=True, modules=modules))
    return {name for name in known if family(module) is not None and family(name) not in (None, family(module))}


def require_no_circle(modules: Modules) -> None:
    """Raise `graphlib.CycleError` where modules import each other, be it for types alone."""
    inside = modules.keys() - {FRONT_DOOR}
    known = {name: own(imports(name, anywhere=False, types=True, modules=modules)) - {FRONT_DOOR} for name in inside}
    graphlib.TopologicalSorter(known).prepare()


def planted(**sources: str) -> Modules:
    """The package with modules that it does not have: ``session__new`` is `pytest_accel.session.new`."""
    return {**MODULES, **{f"pytest_accel.{name.replace('__', '.')}": ast.parse(text) for name, text in sources.items()}}


def test_every_package_has_a_floor() -> None:
    assert without_rank(MODULES) == set()
    assert {".".join(name.split(".")[:3]) for name in (*RANK, *WORKER_RANK)} <= MODULES.keys(), "a room that is gone"


def test_a_folder_without_a_floor_is_found() -> None:
    assert without_rank(planted(attic__boxes="")) == {"pytest_accel.attic"}
    assert without_rank(planted(worker__attic__boxes="")) == {"pytest_accel.worker.attic"}


def test_imports_point_down() -> None:
    assert broken_in(MODULES, lambda module: not_downwards(module, MODULES)) == {}


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("inputs.new", "check.check"),
        ("store.new", "machine.hardware"),
        ("worker.formats.new", "worker.hardware.versions"),
        ("worker.accelerators.new", "worker.serve"),
        ("worker.new", "facts.records"),
    ],
    ids=["climbs", "same floor", "same floor of the worker", "climbs in the worker", "worker knows the controller"],
)
def test_an_import_that_does_not_point_down_is_found_even_for_types_alone(module: str, imported: str) -> None:
    text = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pytest_accel.{imported}\n"
    name = f"pytest_accel.{module}"
    assert not_downwards(name, planted(**{module.replace(".", "__"): text})) == {f"pytest_accel.{imported}"}


def test_families_of_accelerators_do_not_know_each_other() -> None:
    assert broken_in(MODULES, lambda module: other_families(module, MODULES)) == {}


@pytest.mark.parametrize("module", ["tensorrt.new", "new"], ids=["in a folder", "in one file"])
def test_an_import_of_another_family_is_found_even_for_types_alone(module: str) -> None:
    imported = f"{FAMILIES}tensorflow.gpu"
    text = f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {imported}\n"
    modules = planted(**{f"worker__accelerators__{module.replace('.', '__')}": text})
    assert other_families(f"{FAMILIES}{module}", modules) == {imported}
    assert other_families(f"{FAMILIES}tensorflow.cpu", modules) == set(), "its own family"


def test_nobody_imports_in_a_circle() -> None:
    require_no_circle(MODULES)


def test_a_circle_is_found_even_for_types_alone() -> None:
    back = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pytest_accel.session.one\n"
    with pytest.raises(graphlib.CycleError):
        require_no_circle(planted(session__one="import pytest_accel.session.other", session__other=back))


def through_the_front_door(module: str, modules: Modules) -> set[str]:
    """The public names that a module imports from the bare package, where each has a module of its own."""
    public = set(pytest_accel.__all__)
    named = (node for node in ast.walk(modules[module]) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in named if node.module == FRONT_DOOR for alias in node.names} & public


def test_nobody_inside_goes_through_the_front_door() -> None:
    assert broken_in(MODULES, lambda module: through_the_front_door(module, MODULES)) == {}


def test_who_goes_through_the_front_door_is_found() -> None:
    modules = planted(session__new="from pytest_accel import AccelModel, __version__")
    assert through_the_front_door("pytest_accel.session.new", modules) == {"AccelModel"}


@pytest.mark.parametrize("text", ["import pytest_accel.stats", "def f():\n    from pytest_accel import stats"])
def test_a_front_door_that_imports_for_more_than_types_is_found(text: str) -> None:
    assert not_downwards(FRONT_DOOR, {**MODULES, FRONT_DOOR: ast.parse(text)}) == {"pytest_accel.stats"}


def test_nothing_but_dependencies_is_imported_before_it_is_used() -> None:
    assert broken_in(MODULES, lambda module: foreign(imports(module, anywhere=False)) - DEPENDENCIES) == {}


def test_only_the_top_knows_pytest() -> None:
    known = broken_in(MODULES, lambda module: foreign(imports(module)) & {"pytest", "_pytest"})
    assert known.keys() == KNOW_PYTEST


def test_a_run_without_accelerator_tests_loads_next_to_nothing() -> None:
    loaded = {*ENTRANCE, "pytest_accel"}
    assert broken_in(ENTRANCE, lambda module: foreign(imports(module, anywhere=False)) - {"pytest"}) == {}
    assert broken_in(ENTRANCE, lambda module: own(imports(module, anywhere=False)) - loaded) == {}


def test_worker_rooms_stand_alone() -> None:
    assert broken_in(WORKER_ROOMS, lambda module: foreign(imports(module, anywhere=False)) - {"numpy"}) == {}
    assert broken_in(WORKER_ROOMS, lambda module: own(imports(module)) - set(WORKER_ROOMS)) == {}


def test_worker_rooms_are_python_3_8() -> None:
    for module in WORKER_ROOMS:
        ast.parse(SOURCES[module], filename=module, feature_version=(3, 8))


def test_every_module_says_what_it_is() -> None:
    assert [module for module, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert broken_in(MODULES, lambda module: drawers & set(module.split("."))) == {}
