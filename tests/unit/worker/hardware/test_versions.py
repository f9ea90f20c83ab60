from __future__ import annotations

import importlib.metadata

from pytest_accel.worker.hardware import versions


def test_what_is_not_installed_has_no_version() -> None:
    found = versions.installed("pytest", "no-such-package-anywhere")
    assert found == {"pytest": importlib.metadata.version("pytest"), "no-such-package-anywhere": "none"}
