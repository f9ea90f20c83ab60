"""What a worker's interpreter is sent to import: the sources of the worker rooms and of one accelerator.

Only text is gathered here; `pytest_accel.worker.boot` imports it on the other side.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import pkgutil
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest_accel.worker
from pytest_accel.facts.errors import WorkerError


@functools.cache
def worker_rooms() -> dict[str, str]:
    """Return the source of ``pytest_accel.worker`` and everything below it, by module name."""
    package = pytest_accel.worker
    below = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = ["pytest_accel", package.__name__, *(found.name for found in below)]
    return {name: source_of(name) for name in names}


class HostSources(NamedTuple):
    """All that is sent to a host to start workers there: ``packed`` JSON of sources, and its sha256."""

    packed: bytes
    digest: str


@functools.cache
def host_sources() -> HostSources:
    """Return the sources of the worker rooms, and of what execnet needs on the other side."""
    execnet = {name: source_of(name) for name in ("execnet.gateway_base", "execnet.gateway_io")}
    text = json.dumps({"rooms": worker_rooms(), "execnet": execnet}, sort_keys=True)
    packed = zlib.compress(text.encode(), 9)
    return HostSources(packed, hashlib.sha256(packed).hexdigest())


def source_of(module: str) -> str:
    """Return the source text of a module."""
    loaded = sys.modules.get(module)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise WorkerError(f"the source of {module!r} cannot be found, so no worker can be sent it", phase="start")
    # Not the loader's get_source: the one by which pytest rewrites assertions has none.
    return importlib.util.decode_source(Path(spec.origin).read_bytes())


def cargo_for(accelerator: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the sources to import first, and those to import only where the worker's interpreter has none of its own.

    ``accelerator`` is ``"module:Class"``. The packages around a third party's accelerator stay at home: if the other
    side does not have them, empty ones stand in.
    """
    module, _, _ = accelerator.partition(":")
    sources = {**worker_rooms(), module: source_of(module)}
    parts = module.split(".")
    around = [".".join(parts[:depth]) for depth in range(1, len(parts))]
    stand_ins = {name: "" for name in around if name not in sources}
    return sources, {**stand_ins, module: sources[module]}


def code_digest(accelerator: str) -> str:
    """Return the sha256 of the code that a worker of an accelerator is sent: ours and the accelerator's own."""
    sources, _ = cargo_for(accelerator)
    whole = hashlib.sha256()
    for name, text in sorted(sources.items()):
        whole.update(f"{name}\0{hashlib.sha256(text.encode()).hexdigest()}\0".encode())
    return whole.hexdigest()
