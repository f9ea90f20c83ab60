"""Versions of packages, read without importing them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Dict


def installed(*packages: str) -> Dict[str, str]:
    """Return the versions of packages by name, "none" for a package that is not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found
