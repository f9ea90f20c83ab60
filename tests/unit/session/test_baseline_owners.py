from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.session.baseline_owners import BaselineOwners

PATH = Path("baselines/a-cpu/net/cpu.json")


def claim(owners: BaselineOwners, **changed: Any) -> None:
    claimed = {"model": "net", "test": "test_a.py::test_a[cpu]", "model_digest": "m", "dataset_digest": "d"}
    owners.claim(changed.pop("path", PATH), **{**claimed, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"test": "test_a.py::test_b[cpu]"},
        {"model_digest": "n", "dataset_digest": "e"},
        {"test": "test_a.py::test_b[cpu]", "model_digest": "n", "path": PATH.with_name("cpu-b8.json")},
    ],
    ids=["again", "another test", "the same test", "another baseline"],
)
def test_one_baseline_serves_tests_of_one_model_on_one_set_of_data(changed: dict[str, Any]) -> None:
    owners = BaselineOwners()
    claim(owners)
    claim(owners, **changed)


@pytest.mark.parametrize(("changed", "what"), [({"model_digest": "n"}, "models"), ({"dataset_digest": "e"}, "data")])
def test_two_tests_of_something_else_are_both_named(changed: dict[str, Any], what: str) -> None:
    owners = BaselineOwners()
    claim(owners)
    message = (
        f"test_a.py::test_a[cpu] and test_b.py::test_b[cpu] have one baseline, {PATH}, for different {what}: give one "
        "of them a name of its own, for example accel_model(source, name='net-2')"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        claim(owners, test="test_b.py::test_b[cpu]", **changed)
