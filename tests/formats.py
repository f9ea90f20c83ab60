"""What the programs that read our files say of them, by their own parsers and by schemas from their documentation."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pytest_accel.report.markdown import MARKER

DATA = Path(__file__).parent / "data"
#: Metrics by their names, each with its values by their labels.
Metrics = dict[str, dict[frozenset[tuple[str, str]], float]]


def refused_by(schema: str, text: str) -> list[str]:
    """What a schema of ``tests/data`` does not allow in a JSON text."""
    validator = Draft7Validator(json.loads((DATA / f"{schema}.schema.json").read_text(encoding="utf-8")))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(strictly(text))]


def strictly(text: str) -> Any:
    """What a JSON text says to readers who know no NaN."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def comment(file: Path) -> str:
    """What people see of a Markdown report: all of it but the first line, by which a job knows the comment."""
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"{MARKER}\n")
    return text.removeprefix(f"{MARKER}\n")


def read_openmetrics(text: str) -> Metrics:
    """What Prometheus' own parser of OpenMetrics reads, whose rules are strict."""
    found: Metrics = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            assert frozenset(sample.labels.items()) not in values, "one series has one value"
            assert math.isfinite(sample.value)
            values[frozenset(sample.labels.items())] = sample.value
    return found


def read_as_gitlab(text: str) -> dict[str, str]:
    """What GitLab's metrics report shows, by its rule: no comment, then a name and a value as a shell splits words."""
    words = [shlex.split(line.partition("#")[0]) for line in text.splitlines()]
    return {line[0]: line[1] for line in words if len(line) > 1}


def check_by_promtool(text: str) -> None:
    """Let promtool judge the file as node exporter reads it: the older text format, and good names."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: apt-get install prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
