"""The scripted accelerator as the subject of an acceptance."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.acceptance.subject import Subject
from pytest_accel.testing import fake_model

if TYPE_CHECKING:
    from tests.unit.conftest import Workshop


@dataclass
class FakeSubject(Subject):
    """A subject whose examples are scripts, of one kind or of several."""

    scripts: dict[str, dict[str, Any]] = field(default_factory=dict)
    example_kinds: tuple[str, ...] = ("fake",)

    @property
    def kinds(self) -> list[str]:
        return list(self.example_kinds)

    def example(self, name: str, kind: str | None = None) -> Path:
        script = {"weights_seed": len(kind or ""), **self.scripts.get(name, {})}  # kinds differ in their content
        return fake_model(self.folder / f"{name}{kind or ''}.fake.json", **script)


@pytest.fixture
def subject(workshop: Workshop) -> FakeSubject:
    return FakeSubject(workshop.session, "fake", workshop.folder, {}, {})


@pytest.fixture
def in_processes(workshop: Workshop) -> FakeSubject:
    """The same with real processes."""
    workshop.start_again(in_process=False)
    return FakeSubject(workshop.session, "fake", workshop.folder, {}, {})
