"""A package of ten versions, as wheels in a folder that pip finds them in."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

#: PACKAGE is the name of the package, and of its only module.
PACKAGE = "quickmath"
#: VERSIONS are all that there are. As texts they have another order.
VERSIONS = tuple(f"1.{minor}.0" for minor in range(1, 11))


def write_wheel(folder: Path, version: str, source: str = "", *, requires: str = "", package: str = PACKAGE) -> None:
    """Write the wheel of one version, whose module has this source."""
    info = f"{package}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{package}.py": f"VERSION = {version!r}\n{source}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


def offer(folder: Path, monkeypatch: pytest.MonkeyPatch, sources: Mapping[str, str] | None = None) -> None:
    """Write all versions, and let pip know this folder and nothing else."""
    for version in VERSIONS:
        write_wheel(folder, version, (sources or {}).get(version, ""))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
