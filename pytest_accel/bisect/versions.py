"""The versions of a package as a history: those that pip offers for this Python, with its index and its settings."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pytest_accel.facts.errors import AccelError, UsageError

#: _SPAN is how a package and the two ends are named.
_SPAN = re.compile(r"(?P<package>[^=\s]+)==(?P<good>[^=\s]+?)\.\.(?P<bad>[^=\s]+)")
_OFFERED = re.compile(r"^Available versions: (.*)$", re.MULTILINE)


class Span(NamedTuple):
    """A package, a version of it that is good, and a later one that is bad."""

    package: str
    good: Version
    bad: Version

    @classmethod
    def read(cls, text: str) -> Span:
        """Read ``NAME==GOOD..BAD``. Raises `UsageError`."""
        found = _SPAN.fullmatch(text)
        if found is None:
            raise UsageError(f"--package={text}: write it so: --package=onnxruntime==1.22.0..1.27.1")
        try:
            package = canonicalize_name(Requirement(found["package"]).name)
            good, bad = Version(found["good"]), Version(found["bad"])
        except (InvalidRequirement, InvalidVersion) as error:
            raise UsageError(f"--package={text}: {error}") from None
        if good >= bad:
            raise UsageError(f"--package={text}: the good version has to be older than the bad one")
        return cls(package, good, bad)


@dataclass(frozen=True)
class Versions:
    """Versions of one package, the oldest first."""

    package: str
    versions: tuple[str, ...]

    @property
    def good(self) -> str:
        """The oldest version."""
        return self.versions[0]

    @property
    def bad(self) -> str:
        """The newest version."""
        return self.versions[-1]

    def shown(self, point: str) -> str:
        """Return a version with its package."""
        return f"{self.package} {point}"

    def suspects(self, goods: Sequence[str], bad: str) -> list[str]:
        """Return what may be the first bad version. The one in the middle comes first, ``bad`` itself last."""
        first = max(map(self.versions.index, goods)) + 1
        inside = self.versions[first : self.versions.index(bad)]
        middle = (len(inside) - 1) / 2
        nearest = sorted(range(len(inside)), key=lambda at: abs(at - middle))
        return [*(inside[at] for at in nearest), bad]

    def before(self, point: str) -> list[str]:
        """Return the version before one."""
        return [self.versions[self.versions.index(point) - 1]]


def offered_versions(span: Span) -> Versions:
    """Ask pip for the versions from one end to the other.

    Those before a release, such as 2.0rc1, are among them where an end is one. Raises `UsageError` where an end is not
    offered, and `AccelError` with pip's words where pip cannot tell.
    """
    offered = _offered(span)
    for end in (span.good, span.bad):
        if end not in offered:
            near = ", ".join(map(str, sorted(offered, key=lambda other: _distance(other, end, offered))[:5]))
            raise UsageError(f"pip offers no {span.package} {end} for this Python; close to it are {near}")
    return Versions(span.package, tuple(str(version) for version in offered if span.good <= version <= span.bad))


def _distance(version: Version, end: Version, offered: Sequence[Version]) -> int:
    """Return how many versions lie between an offered one and where another would be."""
    return abs(offered.index(version) - sum(other < end for other in offered))


def _offered(span: Span) -> list[Version]:
    pre = ["--pre"] if span.good.is_prerelease or span.bad.is_prerelease else []
    command = [sys.executable, "-m", "pip", "index", "versions", span.package, "--disable-pip-version-check", *pre]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    found = _OFFERED.search(done.stdout)
    if done.returncode or found is None:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise AccelError(f"pip cannot tell the versions of {span.package}: {said[-1]}")
    return sorted(map(Version, found[1].split(", ")))
