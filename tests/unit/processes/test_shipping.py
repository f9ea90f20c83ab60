from __future__ import annotations

import linecache
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from pytest_accel.facts.errors import WorkerError
from pytest_accel.processes.shipping import cargo_for, worker_rooms
from pytest_accel.worker.boot import Shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Imports what is shipped, and forgets it afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))

    def arrive(sources: dict[str, str], stand_ins: dict[str, str]) -> None:
        sys.meta_path.insert(0, Shipped(sources))
        sys.meta_path.append(Shipped(stand_ins))

    yield arrive
    for name in set(sys.modules) - before:
        del sys.modules[name]
    linecache.clearcache()


def package(folder: Path) -> None:
    (folder / "vendor" / "parts").mkdir(parents=True)
    (folder / "vendor" / "__init__.py").write_text("raise RuntimeError('must stay at home')")
    (folder / "vendor" / "parts" / "__init__.py").write_text("")
    (folder / "vendor" / "parts" / "fast.py").write_text("def go():\n    return 1 / 0  # here\n")


def test_every_worker_room_is_sent_and_no_controller_room() -> None:
    rooms = worker_rooms()
    assert {
        "pytest_accel",
        "pytest_accel.worker.serve",
        "pytest_accel.worker.accelerators.tensorflow.cpu",
    } <= rooms.keys()
    assert [name for name in rooms if not name.startswith("pytest_accel.worker")] == ["pytest_accel"]
    assert "def serve" in rooms["pytest_accel.worker.serve"]


def test_of_a_third_party_only_the_accelerators_module_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importing: Callable[..., None]
) -> None:
    package(tmp_path)
    (tmp_path / "vendor" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    sources, stand_ins = cargo_for("vendor.parts.fast:Fast")
    assert sources.keys() - worker_rooms().keys() == {"vendor.parts.fast"}
    assert stand_ins == {"vendor": "", "vendor.parts": "", "vendor.parts.fast": sources["vendor.parts.fast"]}


def test_our_own_accelerators_need_no_stand_ins() -> None:
    _, stand_ins = cargo_for("pytest_accel.worker.accelerators.fake:FakeAccelerator")
    assert stand_ins.keys() == {"pytest_accel.worker.accelerators.fake"}


def test_an_accelerator_without_a_source_is_named() -> None:
    with pytest.raises(WorkerError, match="the source of 'itertools' cannot be found"):
        cargo_for("itertools:cycle")


def test_stand_ins_take_the_place_of_absent_packages(importing: Callable[..., None]) -> None:
    fast = "answer = 42\n"
    importing({"absent.parts.fast": fast}, {"absent": "", "absent.parts": "", "absent.parts.fast": fast})
    from absent.parts.fast import answer  # type: ignore[import-not-found]

    assert answer == 42


def test_a_package_that_is_there_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importing: Callable[..., None]
) -> None:
    package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importing({"vendor.parts.fast": ""}, {"vendor": "", "vendor.parts": "", "vendor.parts.fast": ""})
    with pytest.raises(RuntimeError, match="must stay at home"):
        import vendor.parts.fast  # type: ignore[import-not-found]  # noqa: F401


def test_a_traceback_shows_the_lines_of_what_was_sent(importing: Callable[..., None]) -> None:
    importing({"sent": "def go():\n    return 1 / 0  # here\n"}, {})
    import sent  # type: ignore[import-not-found]

    with pytest.raises(ZeroDivisionError) as caught:
        sent.go()
    assert "return 1 / 0  # here" in "".join(traceback.format_exception(caught.value))
