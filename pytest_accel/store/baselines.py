"""Baselines: what a variant of a model did on a kind of hardware when somebody was content with it.

One small JSON file each, ``<root>/<fingerprint>/<model>/<variant id>.json``, made to be read in a pull request: sorted
keys, one fact a line, six significant digits, and the same bytes for the same facts on the same day. It holds a summary
of each launch instead of its times. Whether a run is slower than its baseline is decided elsewhere.

Those that have a name lie in a folder like ``<root>``: see `named_baselines`.

What was compiled and not run lies apart, ``<root>/compile-only/<kind of device>/<model>/<variant id>.json``: no file of
one kind can take the place of the other kind.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from pytest_accel.facts.errors import BaselineError
from pytest_accel.facts.fingerprint import fingerprint_of
from pytest_accel.store import strict_json
from pytest_accel.store.agreement import disagreement
from pytest_accel.store.baseline import SCHEMA, AnyBaseline, Baseline, CompiledBaseline
from pytest_accel.store.files import PLAIN_NAME, read_regular, sync, written_beside
from pytest_accel.store.significant_digits import rounded

if TYPE_CHECKING:
    from pytest_accel.facts.settings import SaveMode

#: _MEASURED names the parts of a baseline that were measured and are rounded. What was chosen, such as an option, is
#: kept as it is.
_MEASURED = ("accepted", "accuracy", "artefact", "duets", "launches", "placement", "prediction")
#: _COMPILE_ONLY is the folder of the baselines of which nothing was measured.
_COMPILE_ONLY = "compile-only"
_Kept = TypeVar("_Kept", bound=AnyBaseline)


class BaselineFolder(Generic[_Kept]):
    """A folder of baselines of one kind. Every method raises `BaselineError`: what is wrong, where, and what to do."""

    kind: type[_Kept]

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kept_for: str, model: str, variant_id: str) -> Path:
        """Return where a baseline is, or would be. ``kept_for`` is the hardware's fingerprint, or a kind of device."""
        return self.root / _file_name(kept_for) / _file_name(model) / f"{_file_name(variant_id)}.json"

    def find(self, kept_for: str, model: str, variant_id: str) -> _Kept | None:
        """Return the stored baseline, None when there is none."""
        path = self.path(kept_for, model, variant_id)
        with _with_advice(path, "read"):
            if self.root.exists() and not self.root.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, f"{self.root} is no folder")
            stored = path if path.exists() else self._of_an_older_schema(path, kept_for)
        if stored is None:
            return None
        found = self._read(stored)
        place = (found.kept_for, found.model, found.variant.id)
        if place != (kept_for, model, variant_id):
            raise BaselineError(f"{stored} is the baseline of {' / '.join(place)}: move it to {self.path(*place)}")
        return found

    def _read(self, path: Path) -> _Kept:
        """Read a baseline, which has to be of this kind."""
        found = read(path)
        if not isinstance(found, self.kind):
            what = "measured" if isinstance(found, Baseline) else f"of {_COMPILE_ONLY}, so nothing in it was measured"
            raise BaselineError(f"{path} is {what}, and its place is for the other kind; {_RESTORE}")
        return found

    def _of_an_older_schema(self, path: Path, kept_for: str) -> Path | None:
        """Return the file that an older release has put where the fingerprint of the same hardware was another one."""
        words = _file_name(kept_for).rpartition("-")[0]
        beside = sorted({*self.root.glob(f"{glob.escape(words)}-*/{path.parent.name}/{path.name}")} - {path})
        return next((other for other in beside if read(other).kept_for == kept_for), None)

    def elsewhere(self, model: str, variant_id: str) -> list[str]:
        """Return what else has a baseline of this variant, sorted: the fingerprint of each hardware, or the device."""
        found = self.root.glob(f"*/{_file_name(model)}/{_file_name(variant_id)}.json")
        return sorted(path.parts[-3] for path in found)

    def paths(self) -> list[Path]:
        """Return all baseline files, sorted."""
        return sorted(self.root.glob("*/*/*.json"))

    def iterate(self) -> Iterator[tuple[Path, _Kept]]:
        """Return all baselines, sorted by path; raises at the first that cannot be read."""
        return ((path, self._read(path)) for path in self.paths())

    def remove(self, path: Path) -> None:
        """Remove a baseline file and the folders that this leaves empty."""
        with _with_advice(path, "removed"):
            path.unlink()
        with suppress(OSError):  # another baseline lives there
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def save(self, baseline: _Kept, *, mode: SaveMode = "all") -> bool:
        """Write a baseline; whether it was written. Mode "new" leaves a stored one alone.

        The file appears whole or not at all, and a write that fails leaves the older one. Of two that write at once,
        the last one wins, but in mode "new" the first one.
        """
        path = self.path(baseline.kept_for, baseline.model, baseline.variant.id)
        text = dump(baseline)
        if (found := disagreement(baseline)) is not None:
            raise BaselineError(f"{path} is not written, for nobody could read it: {found}; measure once more")
        older = None if path.exists() else self._of_an_older_schema(path, baseline.kept_for)
        with _with_advice(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_beside(path, text) as temporary:
                if mode != "new":
                    temporary.replace(path)
                else:
                    try:
                        path.hardlink_to(temporary)  # the one call that makes a whole file only where there is none
                    except FileExistsError:
                        return False
            sync(path.parent)
        if older is not None and older.exists():  # another process may have been as fast
            self.remove(older)
        return True


class Baselines(BaselineFolder[Baseline]):
    """The folder of measured baselines, by the fingerprint of the hardware."""

    kind = Baseline


class CompiledBaselines(BaselineFolder[CompiledBaseline]):
    """The folder of what was compiled and not run, by the kind of device. It lies below that of the measured ones."""

    kind = CompiledBaseline

    def __init__(self, root: Path) -> None:
        super().__init__(root / _COMPILE_ONLY)


def read(path: Path) -> AnyBaseline:
    """Read one baseline file of either kind. Raises `BaselineError` that names file, line and field."""
    try:
        with _with_advice(path, "read"):
            text = read_regular(path).decode("utf-8")
        data = _migrated(strict_json.parse(text), text)
        kind: type[AnyBaseline] = CompiledBaseline if "compiled_for" in data else Baseline
        baseline = strict_json.convert(data, kind, text)
        _require_agreement(baseline, text)
    except UnicodeDecodeError as error:
        raise BaselineError(f"{path} is not UTF-8 text; {_RESTORE}") from error
    except strict_json.Malformed as error:
        raise BaselineError(f"{path}:{error.line}: {error}; {_RESTORE}") from error
    except _NewerSchema as error:
        raise BaselineError(f"{path}:{strict_json.line_of(text, 'schema')}: {error}") from error
    return baseline


def dump(baseline: AnyBaseline) -> str:
    """Return the text of a baseline file. Raises `BaselineError` for numbers that JSON does not have."""
    data: dict[str, Any] = msgspec.to_builtins(baseline)
    if data["accepted"] is None:
        del data["accepted"]
    for name in data.keys() & set(_MEASURED):
        data[name] = rounded(data[name], name)
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


_RESTORE = "restore it from version control, or remove it and save a new one with --accel-save-baseline"


class _NewerSchema(Exception):
    """The file is fine, this pytest-accel is too old."""


def _describe_processor_once(data: dict[str, Any]) -> dict[str, Any]:
    """Drop the second list of the processor's flags, and name the hardware without it."""
    hardware = data.get("hardware")
    identity = hardware.get("identity") if isinstance(hardware, dict) else None
    if not (isinstance(identity, dict) and {"flags", "cpu_flags", "device", "cores", "memory_gb"} <= identity.keys()):
        return data
    kept = {name: value for name, value in identity.items() if name != "flags"}
    return {**data, "hardware": {"identity": kept, "fingerprint": fingerprint_of(kept)}}


#: MIGRATIONS is how to make data of a schema into data of the next one, by the older schema's number.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _describe_processor_once}


def _migrated(data: Any, text: str) -> Any:
    if not isinstance(data, dict):
        raise strict_json.Malformed(1, "", "not a JSON object")
    schema = data.get("schema")
    if type(schema) is not int:
        problem = "this field is missing" if schema is None else f"Expected int, got {schema!r}"
        raise strict_json.Malformed(strict_json.line_of(text, "schema"), "schema", problem)
    if schema > SCHEMA:
        raise _NewerSchema(f"schema {schema} is newer than {SCHEMA}, the newest known here; upgrade pytest-accel")
    for older in range(schema, SCHEMA):
        if older not in MIGRATIONS:
            raise strict_json.Malformed(strict_json.line_of(text, "schema"), "schema", f"there was no schema {older}")
        data = {**MIGRATIONS[older](data), "schema": older + 1}
    return data


def _require_agreement(baseline: AnyBaseline, text: str) -> None:
    if (found := disagreement(baseline)) is not None:
        raise strict_json.Malformed(strict_json.line_of(text, found.field), found.field, found.problem)


def _file_name(name: str) -> str:
    """``name`` itself where it can name a file anywhere, else something like it with a digest."""
    if PLAIN_NAME.fullmatch(name):
        return name
    legible = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).lstrip(".-")[:80]
    return f"{legible}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


@contextmanager
def _with_advice(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        action = "choose another folder with --accel-baseline-dir"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            action = f"free some space, or {action}"
        raise BaselineError(f"{path} cannot be {done}: {error.strerror}; {action}") from error
