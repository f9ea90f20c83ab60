"""Versions of packages, read without importing them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Dict


def installed(*packages: str) -> Dict[str, str]:
    """The version of each package, "none" for one that is not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found
