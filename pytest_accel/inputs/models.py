"""The model as a test names it, found, named and identified.

A source is a SavedModel folder, a model file of a known kind, a Keras model or a PyTorch module in memory, or a
function without arguments that makes one of these. A model in memory is exported once, into the cache. No framework is
imported: a model is known by where its class comes from, and so its framework is there already. Loading and compiling
are a worker's.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import inspect
import io
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_accel.facts.errors import SourceError
from pytest_accel.facts.fact import Fact
from pytest_accel.inputs.classes import class_name, code, package
from pytest_accel.inputs.torch_digest import torch_digest
from pytest_accel.store.cache import cache_key
from pytest_accel.worker.file_content import files_below, sha256_of
from pytest_accel.worker.formats import saved_model, torch_model, torch_outputs
from pytest_accel.worker.formats.external_data import TooDeep, external_files

if TYPE_CHECKING:
    from pytest_accel.store.cache import Cache

#: FILE_KINDS are kinds of source that are one file, by the suffix of its name. An accelerator may add its own.
FILE_KINDS: Mapping[str, str] = {".keras": "keras", ".onnx": "onnx", ".pt2": "torch"}
#: SAVED_MODEL_FILES are files of which a SavedModel folder has one.
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
#: _FRAMEWORKS are top packages whose models are in memory as Keras models.
_FRAMEWORKS = ("keras", "tf_keras", "tensorflow")
_PROGRAM = "model.pt2"


class Model(Fact, frozen=True):
    """One model: ``name`` is path-safe and keys its baselines, ``digest`` is the sha256 of its content."""

    name: str
    kind: str
    path: Path
    digest: str


def resolve(
    source: Any, *, name: str | None = None, cache: Cache, base: Path, kinds: Mapping[str, str] = FILE_KINDS
) -> Model:
    """Find the model that ``source`` means.

    A relative path is looked for in ``base``, then in the current folder. ``name`` replaces the name taken from the
    file, folder, function or Keras model; ``kinds`` are the model files that are known. Raises `SourceError` with what
    was tried and what to do.
    """
    if isinstance(source, (str, os.PathLike)):
        return _from_path(_found(Path(source).expanduser(), base), name, kinds)
    if _is_keras_model(source):
        return _from_keras(source, name, cache)
    if _is_torch_model(source):
        return _from_torch(source, name, cache)
    if callable(source):
        name = name or _name_of_function(source)
        made = source()
        if callable(made) and not _is_keras_model(made) and not _is_torch_model(made):
            raise SourceError(f"{name}() returned another function: it has to return a model or the path of one")
        return resolve(made, name=name, cache=cache, base=base, kinds=kinds)
    raise SourceError(
        f"cannot take a model from {class_name(type(source))}: pass a SavedModel folder, a {_known(kinds)} file, "
        f"a Keras model, a PyTorch module, or a function that makes one of these"
    )


def content_digest(files: Iterable[tuple[str, Path]]) -> str:
    """Return the sha256 of files given as (name, path): of their names and contents, in the order of the names."""
    whole = hashlib.sha256()
    for name, path in sorted(files):
        whole.update(f"{name}\0{sha256_of(path)}\0".encode())
    return whole.hexdigest()


def _found(path: Path, base: Path) -> Path:
    tried = list(dict.fromkeys(folder / path for folder in (base, Path.cwd())))
    for candidate in tried:
        if candidate.exists():
            return candidate
    near = [name for candidate in tried for name in _similar(candidate)]
    hint = f". Did you mean {near[0]}?" if near else ""
    raise SourceError(f"no model at {path}: tried {' and '.join(map(str, tried))}{hint}")


def _similar(path: Path) -> Iterator[Path]:
    if path.parent.is_dir():
        siblings = [sibling.name for sibling in path.parent.iterdir()]
        yield from (path.parent / name for name in difflib.get_close_matches(path.name, siblings, n=1))


def _from_path(path: Path, name: str | None, kinds: Mapping[str, str]) -> Model:
    if path.is_dir():
        if not any((path / file).is_file() for file in SAVED_MODEL_FILES):
            raise SourceError(f"{path} is no SavedModel (it has no saved_model.pb): {_what_else(path, kinds)}")
        digest = content_digest(files_below(path))
        return Model(name=_path_safe(name or path.resolve().name), kind="saved_model", path=path, digest=digest)
    for suffix, kind in kinds.items():
        if path.name.endswith(suffix):
            if kind == "keras" and not zipfile.is_zipfile(path):
                raise SourceError(f"{path} is no .keras archive: save it again with model.save('{path.name}')")
            digest = content_digest([("", path), *(_external_data(path) if kind == "onnx" else ())])
            return Model(name=_path_safe(name or path.name.removesuffix(suffix)), kind=kind, path=path, digest=digest)
    raise SourceError(f"{path} is no model that can be read: {_advice(path, kinds)}")


def _external_data(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files with weights that an ``.onnx`` file names. A worker refuses a model that lacks one of them."""
    try:
        named = external_files(path)
    except TooDeep as error:
        raise SourceError(str(error)) from None
    for name, file in named.items():
        if file.is_file():
            yield name.removeprefix(path.name), file


def _advice(path: Path, kinds: Mapping[str, str]) -> str:
    """Return what to do with a file of another kind."""
    if path.suffix in (".h5", ".hdf5"):
        converted = path.with_suffix(".keras").name
        return f"the legacy HDF5 format; convert it with keras.models.load_model('{path.name}').save('{converted}')"
    if path.name in SAVED_MODEL_FILES:
        return f"name its folder, {path.parent}"
    return f"pass a SavedModel folder or a {_known(kinds)} file"


def _what_else(folder: Path, kinds: Mapping[str, str]) -> str:
    """Return what a folder holds instead of a SavedModel, and so what to name."""
    inside = sorted(folder.iterdir())
    for path in inside:
        if any(path.name.endswith(suffix) for suffix in kinds):
            return f"it holds {path.name}; name that file"
        if any((path / file).is_file() for file in SAVED_MODEL_FILES):
            return f"there is one in {path.name}/; name that folder"
        if path.suffix in (".h5", ".hdf5"):
            return f"it holds {path.name}, {_advice(path, kinds)}"
        if path.name == "checkpoint" or path.suffix == ".index":
            return "it holds a training checkpoint; load that into the model and call model.export(folder)"
    names = ", ".join(path.name for path in inside[:5])
    return f"it holds {names}{', ...' if len(inside) > 5 else ''}" if inside else "the folder is empty"


def _is_keras_model(source: Any) -> bool:
    return any(package(base) in _FRAMEWORKS for base in type(source).__mro__) and hasattr(source, "get_weights")


def _from_keras(model: Any, name: str | None, cache: Cache) -> Model:
    name = _path_safe(name or str(model.name))
    if not model.built:
        raise SourceError(f"the Keras model {name} has no shapes yet: give it a keras.Input, or call it on data once")
    digest = _keras_digest(model)
    entry = cache.entry(f"export-{digest[:32]}", lambda folder: _export(model, name, folder), label=f"export of {name}")
    return Model(name=name, kind="saved_model", path=entry.path, digest=digest)


def _keras_digest(model: Any) -> str:
    """Configuration, code of classes that are not the framework's, weights in order, and the framework's versions.

    A class's own text stands for what it does; what it calls elsewhere is not followed. Names belong to the
    configuration, and Keras numbers unnamed layers through a process: name what should keep its digest.
    """
    layers = [model, *model._flatten_layers(include_self=False)]
    foreign = {*_FRAMEWORKS, *sys.stdlib_module_names}
    own_classes = {base for layer in layers for base in type(layer).__mro__ if package(base) not in foreign}
    whole = hashlib.sha256(model.to_json().encode())
    whole.update("\0".join(sorted(map(code, own_classes))).encode())
    for framework in _FRAMEWORKS:
        whole.update(f"{framework} {getattr(sys.modules.get(framework), '__version__', None)}\0".encode())
    for weight in model.get_weights():
        whole.update(f"{weight.dtype}{weight.shape}".encode())
        whole.update(weight.tobytes())
    return whole.hexdigest()


def _export(model: Any, name: str, folder: Path) -> None:
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # Keras prints what it has written
            warnings.simplefilter("ignore")  # the exporter's own are no failure of the user's test
            saved_model.export_keras(model, str(folder))
    except Exception as error:
        raise SourceError(
            f"the Keras model {name} cannot be exported: {type(error).__name__}: {error}. "
            f"Does model.export(folder) work outside of the test?"
        ) from error


def _is_torch_model(source: Any) -> bool:
    """Return whether it is a module, or a program that was exported from one."""
    return any(package(base) == "torch" for base in type(source).__mro__) and hasattr(source, "state_dict")


def _from_torch(model: Any, name: str | None, cache: Cache) -> Model:
    is_program = hasattr(model, "graph_signature")
    if is_program and name is None:
        raise SourceError("an exported program has no name to keep its baseline under: pass name='...'")
    name = _path_safe(name or type(model).__name__)
    if not is_program and getattr(model, "example_input_array", None) is None:
        raise SourceError(
            f"the PyTorch module {name} does not tell what it takes: set its example_input_array to such a tensor, or "
            "a tuple or dict of them, or pass torch.export.export(module, args)"
        )
    digest = torch_digest(model, is_program=is_program)

    def build(folder: Path) -> None:
        try:
            torch_model.export(model, None if is_program else model.example_input_array, str(folder / _PROGRAM))
        except Exception as error:
            raise SourceError(
                f"the PyTorch module {name} cannot be exported: {type(error).__name__}: {error}. "
                f"Does torch.export.export(module, args) work outside of the test?"
            ) from error

    made_by = hashlib.sha256("".join(map(inspect.getsource, (torch_model, torch_outputs))).encode()).hexdigest()
    entry = cache.entry(cache_key("export", model=digest, code=made_by), build, label=f"export of {name}")
    return Model(name=name, kind="torch", path=entry.path / _PROGRAM, digest=digest)


def _name_of_function(function: Callable[..., Any]) -> str:
    named = function.func if isinstance(function, functools.partial) else function
    name = str(getattr(named, "__name__", type(named).__name__))
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise SourceError(
            f"{name} cannot be called without arguments ({error}): wrap it in a function of none"
        ) from None
    if name == "<lambda>":
        raise SourceError("a model made by a lambda has no name to keep its baseline under: pass name='...'")
    return name


def _path_safe(name: str) -> str:
    safe = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).lstrip(".")
    if not safe.strip("_"):
        raise SourceError(f"'{name}' cannot be a model's name, which becomes a folder's: use letters and digits")
    return safe


def _known(kinds: Mapping[str, str]) -> str:
    *most, last = kinds
    return f"{', '.join(most)} or {last}" if most else last
