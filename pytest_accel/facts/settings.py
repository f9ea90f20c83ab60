"""This module holds the settings of one session, as plain values that every package may read."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SaveMode = Literal["all", "new", "accept"]


class Saving(NamedTuple):
    """This is what ``--accel-save-baseline`` asks for.

    ``mode`` "new" writes only missing baselines, and "accept" writes also those of models that got slower. ``name`` is
    that of named baselines, and is empty for the baselines that runs are compared with by default.
    """

    mode: SaveMode
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.mode


class Opponent(NamedTuple):
    """This is what ``--accel-against`` names; ``said`` is what the user wrote.

    It is an interpreter, a compile cache with artefacts, one model, or another checkout of the project.
    """

    kind: Literal["interpreter", "artefacts", "model", "checkout"]
    path: Path
    text: str


class Host(NamedTuple):
    """This is a machine that is reached over ssh.

    ``ssh`` is what the ssh client is given, such as ``me@gpu-box``, ``python`` the interpreter that is started there,
    and ``environment`` the variables that its workers have beside their own.
    """

    ssh: str
    python: str = "python3"
    environment: tuple[tuple[str, str], ...] = ()


def default_lock_dir() -> Path:
    """Return where the processes of one user on one machine find each other's locks.

    It is not in the cache folder, which several machines may share.
    """
    return Path(tempfile.gettempdir()) / f"pytest-accel-{os.getuid()}"


#: NOT_BINDING marks a setting on which no result depends, or which a check's key holds in another form.
NOT_BINDING = {"binds": False}


@dataclass(frozen=True)
class Settings:
    """These are the checked settings of one pytest session. Durations are seconds, sizes megabytes.

    Every default stands here. A check is taken over from an interrupted run only if no setting differs that binds it.
    All settings bind a check but those that are marked `NOT_BINDING`.
    """

    #: ``rootdir`` is pytest's rootdir, which relative paths start from.
    rootdir: Path = field(metadata=NOT_BINDING)
    #: ``baseline_dir`` is the folder of the baselines.
    baseline_dir: Path = field(metadata=NOT_BINDING)
    #: ``accelerators`` names those whose tests run, and is None where all run.
    accelerators: tuple[str, ...] | None = field(default=None, metadata=NOT_BINDING)
    #: ``strict`` fails a run on what it could not decide or measure.
    strict: bool = field(default=False, metadata=NOT_BINDING)
    #: ``save`` says which baselines are written, and is None where none is.
    save: Saving | None = None
    #: ``because`` is the reason why slower models are accepted.
    because: str = field(default="", metadata=NOT_BINDING)
    #: ``compare`` names the baselines that are compared with, and is empty for the default ones.
    compare: str = ""
    #: ``baseline_max_age_days`` is the age from which on a baseline is told.
    baseline_max_age_days: float = field(default=365.0, metadata=NOT_BINDING)
    #: ``history`` adds what this run measures to the history beside the baselines.
    history: bool = field(default=False, metadata=NOT_BINDING)
    #: ``resume`` takes over what an interrupted run has finished.
    resume: bool = field(default=False, metadata=NOT_BINDING)
    #: ``compile_only`` compiles models and runs none.
    compile_only: bool = False
    #: ``in_process`` runs models in the pytest process, where no timing is judged.
    in_process: bool = False
    #: ``reports`` are the files that the run is reported in.
    reports: tuple[Path, ...] = field(default=(), metadata=NOT_BINDING)
    #: ``compile_timeout_s`` is the deadline of one compilation.
    compile_timeout_s: float = field(default=3600.0, metadata=NOT_BINDING)
    #: ``run_timeout_s`` is the deadline of one measurement.
    run_timeout_s: float = field(default=600.0, metadata=NOT_BINDING)
    #: ``deploy_timeout_s`` is the deadline of one deployment; a service may take an hour to say that it has failed.
    deploy_timeout_s: float = field(default=3600.0, metadata=NOT_BINDING)
    #: ``compare_budget_s`` is the time after which a comparison gets no more launches.
    compare_budget_s: float = 180.0
    #: ``selftest_budget_s`` is the time that the self-test takes for one accelerator.
    selftest_budget_s: float = field(default=120.0, metadata=NOT_BINDING)
    #: ``cache_dir`` is the folder of the compile cache, and is None for the user's own cache folder.
    cache_dir: Path | None = field(default=None, metadata=NOT_BINDING)
    #: ``cache_limit_mb`` is the size that the compile cache is kept under.
    cache_limit_mb: float = field(default=20_000.0, metadata=NOT_BINDING)
    #: ``lock_dir`` is the folder of the locks that keep a device to one process.
    lock_dir: Path = field(default_factory=default_lock_dir, metadata=NOT_BINDING)
    #: ``lock_timeout_s`` is the time that a test waits for a lock of another process, which may be compiling.
    lock_timeout_s: float = field(default=7200.0, metadata=NOT_BINDING)
    #: ``confidence`` is the confidence of every statistical decision, as a fraction.
    confidence: float = 0.95
    #: ``first_divergence`` looks for the place where an inaccurate model starts to differ from FP32.
    first_divergence: bool = False
    #: ``profile_regressions`` looks for the operators that a slower model lost its time in.
    profile_regressions: bool = field(default=True, metadata=NOT_BINDING)
    #: ``github`` reports to GitHub Actions in one of its jobs.
    github: bool = True
    #: ``instance_type`` is the cloud's name of this machine, and is None where the machine tells it itself.
    instance_type: str | None = field(default=None, metadata=NOT_BINDING)
    #: ``interpreters`` maps an accelerator to the Python of its worker.
    interpreters: Mapping[str, str] = field(default_factory=dict, metadata=NOT_BINDING)
    #: ``hosts`` maps an accelerator to the machine that it is on, where that is another one.
    hosts: Mapping[str, Host] = field(default_factory=dict, metadata=NOT_BINDING)
    #: ``budgets`` are the project's defaults for tests that set none, by name.
    budgets: Mapping[str, float] = field(default_factory=dict, metadata=NOT_BINDING)
    #: ``against`` is the opponent that is compared with in place of stored baselines, or None.
    against: Opponent | None = None

    @property
    def keeps_record(self) -> bool:
        """Say whether this run leaves a record, which a baseline can be made of later."""
        from pytest_accel.facts.report_formats import RECORD, suffix_of

        return any(suffix_of(path) == RECORD for path in self.reports)

    @property
    def saved_name(self) -> str:
        """Return the name of the baselines that this run writes, which is empty for the default ones."""
        return self.save.name if self.save is not None else ""

    @property
    def saves_compared(self) -> bool:
        """Say whether this run writes baselines among those that it is compared with."""
        return self.save is not None and self.saved_name == self.compare

    @property
    def replaces_baselines(self) -> bool:
        """Say whether this run writes baselines in the place of those that it is compared with."""
        return self.save is not None and self.save.mode != "new" and self.saves_compared

    def shown(self, path: Path) -> Path:
        """Return a path as users are shown it: relative to the project where it is in there."""
        return path.relative_to(self.rootdir) if path.is_relative_to(self.rootdir) else path


def binding_settings() -> tuple[str, ...]:
    """Return the names of the settings that a result depends on."""
    return tuple(setting.name for setting in fields(Settings) if setting.metadata.get("binds", True))
