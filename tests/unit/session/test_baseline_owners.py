from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.session.baseline_owners import BaselineOwner, BaselineOwners

PATH = Path("baselines/a-cpu/net/cpu.json")


@pytest.fixture(params=["one process", "two processes"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[BaselineOwners, BaselineOwners]:
    """Who asks first and who asks later: the same process, or one of xdist's beside it."""
    owners = BaselineOwners()
    if request.param == "one process":
        return owners, owners
    others = BaselineOwners()
    for each in (owners, others):
        each.share(tmp_path / "run")
    return owners, others


def claim(owners: BaselineOwners, **changed: Any) -> None:
    path = changed.pop("path", PATH)
    claimed = {"test": "test_a.py::test_a[cpu]", "model_digest": "m", "dataset_digest": "d", **changed}
    owners.claim(path, model="net", owner=BaselineOwner(**claimed))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"test": "test_a.py::test_b[cpu]"},
        {"test": "test_a.py::test_b[cpu]", "model_digest": "n", "path": PATH.with_name("cpu-b8.json")},
    ],
    ids=["again", "another test", "another baseline"],
)
def test_one_baseline_serves_tests_of_one_model_on_one_set_of_data(
    both: tuple[BaselineOwners, BaselineOwners], changed: dict[str, Any]
) -> None:
    claim(both[0])
    claim(both[1], **changed)


@pytest.mark.parametrize(("changed", "what"), [({"model_digest": "n"}, "models"), ({"dataset_digest": "e"}, "data")])
def test_two_tests_of_something_else_are_both_named(
    both: tuple[BaselineOwners, BaselineOwners], changed: dict[str, Any], what: str
) -> None:
    claim(both[0])
    message = (
        f"test_a.py::test_a[cpu] and test_b.py::test_b[cpu]: one baseline, {PATH}, cannot serve different {what}: "
        "give one of them a name of its own, for example accel_model(source, name='net-2')"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        claim(both[1], test="test_b.py::test_b[cpu]", **changed)


def test_one_test_has_no_two_uses_for_a_baseline_either(both: tuple[BaselineOwners, BaselineOwners]) -> None:
    claim(both[0])
    with pytest.raises(UsageError, match=re.escape(f"test_a[cpu]: one baseline, {PATH}, cannot serve different data")):
        claim(both[1], dataset_digest="e")


def test_a_test_that_is_run_again_may_have_another_model(both: tuple[BaselineOwners, BaselineOwners]) -> None:
    claim(both[0])
    claim(both[0], path=PATH.with_name("other.json"), test="test_b.py::test_b[cpu]")
    both[1].forget("test_a.py::test_a[cpu]")
    claim(both[1], model_digest="n")
    with pytest.raises(UsageError, match="cannot serve different models"):
        claim(both[1], path=PATH.with_name("other.json"), model_digest="n")
