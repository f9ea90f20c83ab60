"""Write and read the record of a run as JSON, the format of ``--accel-report=PATH.json``."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec

from pytest_accel import __version__
from pytest_accel.facts.errors import AccelError
from pytest_accel.facts.records import RunRecord
from pytest_accel.store import strict_json

#: SCHEMA is the version of the format; an older package refuses a record with a higher one.
SCHEMA = 1


class _Head(msgspec.Struct):
    """A record of any schema has these fields."""

    schema: int
    version: str


def to_json(run: RunRecord) -> str:
    """Write the record with one fact on each line."""
    return msgspec.json.format(msgspec.json.encode(run, order="deterministic"), indent=1).decode() + "\n"


def read_record(path: Path) -> RunRecord:
    """Read a record. Raises `AccelError` that names the path and the field at fault, or the version that wrote it."""
    try:
        text = path.read_bytes()
        head = msgspec.json.decode(text, type=_Head)
        if head.schema > SCHEMA:
            raise AccelError(
                f"{path} was written by pytest-accel {head.version} in a newer format ({head.schema}) than "
                f"{__version__} reads ({SCHEMA}): pip install 'pytest-accel>={head.version}'"
            )
        strict_json.parse(text.decode("utf-8"))  # refuses numbers that no report can show, and names that stand twice
        run = msgspec.json.decode(text, type=RunRecord)
        datetime.datetime.fromisoformat(run.started)  # which reports show
        return run
    except OSError as error:
        raise AccelError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # msgspec lets Python's own errors through
        raise AccelError(f"{path} is not a record of a pytest-accel run: {error}") from error
