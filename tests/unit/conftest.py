"""A session on the fake accelerator in this process, for tests of the rooms that tell the story of a check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from pytest_accel.facts.progress import Silence
from pytest_accel.facts.settings import Settings
from pytest_accel.inputs.models import Model, resolve
from pytest_accel.inputs.registry import Registry
from pytest_accel.inputs.variants import Plan, expand_marker
from pytest_accel.processes.process import InProcessWorker
from pytest_accel.session.candidate import Candidate
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.session import Session
from pytest_accel.testing import FAKE, FakeAccelerator, fake_model

if TYPE_CHECKING:
    from pytest_accel.facts.records import Variant

hypothesis.settings.register_profile("shared-machine", deadline=None)  # an example may be slow for reasons not its own
hypothesis.settings.load_profile("shared-machine")


class Heard(Silence):
    """Progress as a list of lines; how much longer a step takes is left out."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(
        self, step: str, detail: str = "", *, share: float | None = None, lasts_s: float | None = None
    ) -> None:
        self.lines.append(f"{step}: {detail}" if detail else step)


class Workshop:
    """What a test needs to make candidates. ``asked`` holds every operation that workers were asked for, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry({"fake": FAKE})
        self.asked: list[str] = []
        self.progress = Heard()
        self.told = self.progress.lines
        self.session = self._session()

    def start_again(self, **settings: Any) -> None:
        """End the session and start another, as the next pytest run does: same folders, nothing remembered."""
        self.session.close()
        self.session = self._session(**settings)

    def _session(self, **settings: Any) -> Session:
        places = {
            "rootdir": self.folder,
            "baseline_dir": self.folder / "baselines",
            "cache_dir": self.folder / "cache",
            "lock_dir": self.folder / "locks",
        }
        chosen = Settings(**{**places, "in_process": True, **settings})
        return Session(chosen, self.registry, tell=self.progress)

    def model(self, name: str = "model", **script: Any) -> Model:
        """A model with this script; one of the same name is written over."""
        path = fake_model(self.folder / f"{name}.fake.json", **script)
        return resolve(path, cache=self.session.cache, base=self.folder, kinds=FakeAccelerator.file_kinds)

    def plan(self, **keywords: Any) -> Plan:
        """The plan of ``@pytest.mark.accelerator("fake", **keywords)``."""
        (plan,) = expand_marker(("fake",), keywords, self.registry)
        return plan

    def variant(self, **options: Any) -> Variant:
        return self.plan(**options).variant

    def compile(self, model: Model | None = None, **options: Any) -> Candidate:
        return compile_candidate(self.session, model or self.model(), self.variant(**options))

    def count(self, operation: str) -> int:
        """How often workers were asked for this."""
        return self.asked.count(operation)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    request = InProcessWorker.request

    def noted(worker: InProcessWorker, op: str, **asked: Any) -> dict[str, Any]:
        workshop.asked.append(op)
        return request(worker, op, **asked)

    monkeypatch.setattr(InProcessWorker, "request", noted)
    yield workshop
    workshop.session.close()


@pytest.fixture
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short launches: what happens within one is told in test_duet."""
    monkeypatch.setattr("pytest_accel.regression.duet.planned_pairs", lambda _: 3)
