"""For authors of accelerators and of tests: an accelerator that does as it is told, and the contract to hold others to.

The contract itself is `pytest_accel.testing.contract.AcceleratorContract`; it needs pytest, this module does not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_accel.worker.accelerators.fake import FakeAccelerator, FakeClock, Script

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FAKE", "FakeAccelerator", "FakeClock", "fake_model"]

#: FAKE is the reference by which a registry or a worker pool finds the fake accelerator.
FAKE = f"{FakeAccelerator.__module__}:{FakeAccelerator.__name__}"


def fake_model(path: Path, **script: Any) -> Path:
    """Write a fake model and return its path, which must end in ``.fake.json``.

    ``script`` holds the keys of `pytest_accel.worker.accelerators.fake.Script`; an unknown one is a `ValueError`.
    """
    if not path.name.endswith(".fake.json"):
        raise ValueError(f"{path}: a fake model's name ends in .fake.json")
    text = json.dumps(script)
    Script.read(text)
    path.write_text(text, encoding="utf-8")
    return path
