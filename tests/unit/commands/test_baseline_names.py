from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_accel.store.baselines import Baselines
from tests.unit import facts
from tests.unit.commands.conftest import Ran


@pytest.fixture
def store(tmp_path: Path) -> Baselines:
    store = Baselines(tmp_path / "baselines")
    store.save(facts.baseline())
    store.save(facts.baseline(model="bert"))
    return store


def test_a_release_is_named_and_becomes_the_anchor(run: Callable[..., Ran], store: Baselines) -> None:
    copied = run("baseline", "copy", "v1")
    assert copied.status == 0
    assert [line.split("/")[-2] for line in copied.lines] == ["bert", "resnet50"]
    assert run("baseline", "anchor").lines == ["there is no anchor; named baselines: v1"]
    assert run("baseline", "anchor", "v1").lines == [
        "the anchor is v1, as baselines/anchor says: max_creep is judged by it"
    ]
    assert run("baseline", "anchor").lines == ["the anchor is v1"]


def test_show_and_prune_take_a_name(run: Callable[..., Ran], store: Baselines) -> None:
    run("baseline", "copy", "v1", "bert")
    shown = run("baseline", "show", "--name=v1")
    assert ("bert" in shown.out, "resnet50" in shown.out) == (True, False)
    assert run("baseline", "prune", "--name=v1", "--model=bert", "--yes").status == 0
    assert len(store.paths()) == 2
    gone = run("baseline", "show", "--name=v1")
    assert (gone.status, "are named 'v1'" in gone.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["copy", "a/b"], "'a/b' cannot name baselines"),
        (["anchor", "v9"], "are named 'v9': there are no named ones yet"),
        (["show", "--name=v9"], "are named 'v9'"),
    ],
)
def test_what_is_no_name_is_trouble(run: Callable[..., Ran], store: Baselines, words: list[str], told: str) -> None:
    ran = run("baseline", *words)
    assert (ran.status, ran.out) == (2, "")
    assert told in ran.err


def test_nothing_to_copy_is_said(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("baseline", "copy", "v1", "vgg")
    assert (ran.status, ran.lines) == (1, ["no baseline in baselines has vgg"])
