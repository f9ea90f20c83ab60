"""Write and read the file of acceptances."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from pytest_accel import __version__
from pytest_accel.facts.acceptance import Acceptance, AcceptanceRecord
from pytest_accel.facts.errors import AccelError
from pytest_accel.store import strict_json
from pytest_accel.store.files import read_regular, write_whole

#: SCHEMA is the version of the format; an older package refuses a file with a higher one.
SCHEMA = 1


def write(acceptances: Sequence[Acceptance], path: Path) -> None:
    """Write the file and make its folder; it appears whole or not at all. Raises `AccelError` that names the path."""
    record = AcceptanceRecord(schema=SCHEMA, version=__version__, acceptances=tuple(acceptances))
    text = msgspec.json.format(msgspec.json.encode(record, order="sorted"), indent=1).decode() + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise AccelError(f"{path}: {error.strerror}; name a file that can be written, with -o") from error


def read(path: Path) -> tuple[Acceptance, ...]:
    """Return the acceptances of a file. Raises `AccelError` that names file, line and field."""
    try:
        text = read_regular(path).decode("utf-8")
        data = strict_json.parse(text)
        schema = data.get("schema") if isinstance(data, dict) else None
        if isinstance(schema, int) and schema > SCHEMA:
            raise AccelError(
                f"{path} has a newer format ({schema}) than pytest-accel {__version__} reads ({SCHEMA}): "
                "pip install a newer one"
            )
        return strict_json.convert(data, AcceptanceRecord, text).acceptances
    except strict_json.Malformed as error:
        raise AccelError(f"{path}:{error.line}: {error}; accept anew, with pytest-accel accept") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AccelError(f"{path} cannot be read: {error}") from None
