"""What command line and ini say of one session, as plain values that every room may read."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

SaveMode = Literal["all", "new"]


@dataclass(frozen=True)
class Opponent:
    """What ``--accel-against`` names, ``said`` as the user wrote it.

    An interpreter, a compile cache with artefacts, one model, or another checkout of the project.
    """

    kind: Literal["interpreter", "artefacts", "model", "checkout"]
    path: Path
    text: str


def default_lock_dir() -> Path:
    """Where a user's processes on one machine find each other's locks; the cache may be another machine's too."""
    return Path(tempfile.gettempdir()) / f"pytest-accel-{os.getuid()}"


@dataclass(frozen=True)
class Settings:
    """One pytest session's settings, checked. Durations are seconds, sizes megabytes.

    ``accelerators`` is None when all are wanted; ``save`` is None when no baseline is to be written; ``resume``
    takes over what an interrupted run has finished; ``cache_dir`` is
    None for the user's own cache folder; ``interpreters`` maps an accelerator to the Python of its worker; ``budgets``
    are the project's defaults for tests that say nothing; ``first_divergence`` asks where an inaccurate model differs;
    ``github`` lets GitHub Actions be told; ``against`` is compared with in place of stored baselines.
    """

    rootdir: Path
    baseline_dir: Path
    accelerators: tuple[str, ...] | None = None
    strict: bool = False
    save: SaveMode | None = None
    resume: bool = False
    in_process: bool = False
    reports: tuple[Path, ...] = ()
    compile_timeout_s: float = 3600.0
    run_timeout_s: float = 600.0
    compare_budget_s: float = 180.0
    selftest_budget_s: float = 120.0
    cache_dir: Path | None = None
    cache_limit_mb: float = 20_000.0
    lock_dir: Path = field(default_factory=default_lock_dir)
    confidence: float = 0.95
    first_divergence: bool = False
    github: bool = True
    instance_type: str | None = None
    interpreters: Mapping[str, str] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    against: Opponent | None = None
