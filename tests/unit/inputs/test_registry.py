from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.inputs.registry import BUILTIN, ENTRY_POINT_GROUP, Registry, nearest
from pytest_accel.testing import FAKE, FakeAccelerator


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings an accelerator and replaces one of ours."""
    points = EntryPoints(
        EntryPoint(name, f"package:{name}", group)
        for name, group in (("tpu", ENTRY_POINT_GROUP), ("gpu", ENTRY_POINT_GROUP), ("other", "another.group"))
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points.select(group=group))


@pytest.mark.usefixtures("installed")
def test_later_sources_replace_earlier_ones_of_the_same_name() -> None:
    registry = Registry.discover([{"tpu": "conftest:Tpu", "mine": "conftest:Mine"}, {"mine": "plugin:Mine"}])
    references = {name: registry.reference(name) for name in ("cpu", "gpu", "tpu", "mine")}
    assert references == {
        "cpu": BUILTIN["cpu"],
        "gpu": "package:gpu",
        "tpu": "conftest:Tpu",
        "mine": "plugin:Mine",
    }
    assert registry.names == sorted([*BUILTIN, "tpu", "mine"])


@pytest.mark.parametrize("name", BUILTIN)
def test_each_of_ours_can_be_imported_without_its_sdk_and_knows_its_name(name: str) -> None:
    assert Registry().find(name).name == name


def test_an_accelerator_is_imported_when_it_is_asked_for() -> None:
    registry = Registry({"fake": FAKE, "broken": "no_such_module:Thing"})
    assert registry.find("fake") is FakeAccelerator


@pytest.mark.parametrize("reference", ["no_such_module:Thing", "pytest_accel.testing:Thing", "pytest_accel.testing"])
def test_one_that_cannot_be_imported_names_its_reference(reference: str) -> None:
    with pytest.raises(UsageError, match=rf"'mine' is registered as '{reference}', which cannot be imported: ."):
        Registry({"mine": reference}).find("mine")


def test_an_unknown_name_is_told_the_nearest_and_all_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown accelerator 'fike', did you mean 'fake'\? Known: cpu, fake"):
        Registry({"fake": FAKE, "cpu": "x:Y"}).find("fike")


@pytest.mark.parametrize(("word", "hint"), [("cpuu", ", did you mean 'cpu'?"), ("quantum", ".")])
def test_only_a_near_word_is_suggested(word: str, hint: str) -> None:
    assert nearest(word, ["cpu", "gpu-trt"]) == hint
