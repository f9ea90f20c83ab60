from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.acceptance.checks.model_shapes import check_dynamic_batch, check_example
from pytest_accel.facts.errors import WorkerError

if TYPE_CHECKING:
    from tests.unit.acceptance.conftest import FakeSubject


def test_an_example_that_passes_its_check_holds(in_processes: FakeSubject) -> None:
    assert check_example(in_processes, "int64_inputs").outcome == "held"


def test_a_free_batch_is_checked_in_several_sizes(in_processes: FakeSubject) -> None:
    found = check_dynamic_batch(in_processes)
    assert found.numbers == {"p50_of_1_ms": 1.0, "p50_of_3_ms": 1.0}


def test_a_batch_that_fails_is_no_finding(in_processes: FakeSubject) -> None:
    in_processes.scripts["two_inputs"] = {"failures": {"infer": {"how": "error", "message": "no second batch"}}}
    with pytest.raises(WorkerError, match="no second batch"):
        check_dynamic_batch(in_processes)
