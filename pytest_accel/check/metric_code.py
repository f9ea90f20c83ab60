"""What the code of a metric is, as a digest: a result that was made by another metric is not taken over.

A metric is known by the texts of its own module and of the project's modules that are imported there, and by what it
was made with. Imports are read and not run. What a metric reads when it is called, such as a file, cannot be seen.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

#: _INSTALLED are the folders of packages that were installed, whose versions are known in another way.
_INSTALLED = tuple({Path(path) for name, path in sysconfig.get_paths().items() if name.endswith("lib")})


class _Source(NamedTuple):
    """The file of a module. ``package`` is what its relative imports start from."""

    package: str
    file: Path


def metric_digest(metric: object) -> str:
    """Return a digest that changes with the metric's code; an empty one stands for no metric.

    A metric whose parts have no lasting text, such as an object that shows its address, has another digest each time.
    """
    if metric is None:
        return ""
    whole = hashlib.sha256()
    for text in (*_parts(metric), *_texts(_module_of(metric))):
        whole.update(f"{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}\0".encode())
    return whole.hexdigest()


def _parts(metric: Any) -> Iterator[str]:
    """Yield what a metric is called and what it was made with."""
    if isinstance(metric, functools.partial):
        yield repr((metric.args, sorted(metric.keywords.items())))
        yield from _parts(metric.func)
        return
    yield getattr(metric, "__qualname__", None) or repr(metric)
    yield repr((getattr(metric, "__defaults__", None), getattr(metric, "__kwdefaults__", None)))
    yield repr(getattr(metric, "__self__", None))
    for cell in getattr(metric, "__closure__", None) or ():
        yield repr(cell.cell_contents)


def _module_of(metric: Any) -> str:
    while isinstance(metric, functools.partial):
        metric = metric.func
    return getattr(metric, "__module__", None) or type(metric).__module__


def _texts(module: str) -> Iterator[str]:
    """Yield the text of a module, and of each of the project's modules that are imported there, and so on."""
    todo = list(_sources(module))
    seen = set(todo)
    while todo:
        source = todo.pop()
        text = source.file.read_text(encoding="utf-8", errors="surrogateescape")
        yield text
        if _is_of_project(source.file):
            found = {inner for name in _imported(text, source.package) for inner in _sources(name)} - seen
            todo += sorted(inner for inner in found if _is_of_project(inner.file))
            seen |= found


def _imported(text: str, package: str) -> Iterator[str]:
    """Yield the names of all modules that a text may import, wherever the statement stands."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):  # no file of Python's
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _sources(name: str) -> Iterator[_Source]:
    """Yield the files of a module and of the packages around it, as far as there are such."""
    path: list[str] | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        inner = ".".join(parts[:depth])
        loaded = getattr(sys.modules.get(inner), "__spec__", None)
        spec = loaded or (PathFinder.find_spec(inner, path) if depth == 1 or path is not None else None)
        if spec is None:
            return
        path = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if spec.origin is not None and Path(spec.origin).is_file():
            yield _Source(inner if path is not None else ".".join(parts[: depth - 1]), Path(spec.origin))


def _is_of_project(file: Path) -> bool:
    installed = any(file.is_relative_to(folder) for folder in _INSTALLED)
    return not installed and not {"site-packages", "dist-packages", "pytest_accel"} & set(file.parts)
