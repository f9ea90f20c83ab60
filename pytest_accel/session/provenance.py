"""Where a result is from: the commit of the code under test, its branch, and the CI job that ran it.

Git tells the first two wherever there is a checkout and a ``git``. A CI service tells what git cannot know: the branch
of a commit that was checked out alone, and the address of the job. Without either, nothing is told and nothing fails.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pytest_accel.facts.records import Provenance

#: _PATIENCE_S is the number of seconds that git may take. A large checkout on a network is slow to look through.
_PATIENCE_S = 30.0
#: _NO_BRANCH is what git calls a commit that was checked out alone.
_NO_BRANCH = "(detached)"
#: _NO_COMMIT is what git calls the commit of a repository without any.
_NO_COMMIT = "(initial)"


class _Service(NamedTuple):
    """The variables of one CI service.

    ``present`` is set in its jobs alone. ``branch`` has several in the order in which to ask them: the first ones are
    those of a pull request. ``job`` is a template of the job's address.
    """

    present: str
    commit: str
    branch: Sequence[str]
    job: str


_SERVICES = (
    _Service(
        "GITHUB_ACTIONS",
        "GITHUB_SHA",
        ("GITHUB_HEAD_REF", "GITHUB_REF_NAME"),
        "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}/attempts/{GITHUB_RUN_ATTEMPT}",
    ),
    _Service(
        "GITLAB_CI",
        "CI_COMMIT_SHA",
        ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME"),
        "{CI_JOB_URL}",
    ),
    _Service("BUILDKITE", "BUILDKITE_COMMIT", ("BUILDKITE_BRANCH",), "{BUILDKITE_BUILD_URL}#{BUILDKITE_JOB_ID}"),
    _Service("CIRCLECI", "CIRCLE_SHA1", ("CIRCLE_BRANCH",), "{CIRCLE_BUILD_URL}"),
    _Service("JENKINS_URL", "GIT_COMMIT", ("CHANGE_BRANCH", "GIT_BRANCH"), "{BUILD_URL}"),
)


def provenance_of(rootdir: Path, results: Path, environ: Mapping[str, str] = os.environ) -> Provenance:
    """Return where results of the project at ``rootdir`` are from.

    A change in the folder ``results`` is none of the code under test: a run may write there itself.
    """
    status = _git_status(rootdir, results)
    heads = dict(line.removeprefix("# branch.").split(" ", 1) for line in status if line.startswith("# branch."))
    commit, branch = heads.get("oid", ""), heads.get("head", "")
    service = next((service for service in _SERVICES if environ.get(service.present)), None)
    return Provenance(
        commit=(commit if commit != _NO_COMMIT else "") or (environ.get(service.commit, "") if service else ""),
        dirty=any(not line.startswith("#") for line in status) if status else None,
        branch=(branch if branch != _NO_BRANCH else "") or _branch(service, environ),
        job=_job(service, environ),
    )


def _git_status(rootdir: Path, results: Path) -> list[str]:
    """Return the lines of git's status, of version 2 of its format; none where there is no git or no checkout.

    Files that git does not know are no change to it, as for ``git describe --dirty``.
    """
    options = ["status", "--porcelain=v2", "--branch", "--untracked-files=no", "--no-renames", "--", ":/"]
    without = [f":(exclude){results.relative_to(rootdir)}"] if results.is_relative_to(rootdir) else []
    try:
        finished = subprocess.run(
            ["git", "-C", str(rootdir), *options, *without],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # an index that is being read by others is not rewritten
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return finished.stdout.splitlines() if finished.returncode == 0 else []


def _branch(service: _Service | None, environ: Mapping[str, str]) -> str:
    names = service.branch if service else ()
    return next((environ[name] for name in names if environ.get(name)), "")


def _job(service: _Service | None, environ: Mapping[str, str]) -> str:
    """Return the address of the job; empty where a part of it is missing."""
    try:
        return service.job.format_map(environ) if service else ""
    except KeyError:
        return ""
