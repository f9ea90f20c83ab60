"""`.ci/run` leaves out no test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A test with such words needs PyTorch: it imports it, asks whether it is there, or is of an accelerator of it.
NEEDS_PYTORCH = re.compile(
    r'^ *(import|from) torch\b|importorskip\("torch"|distributions\(name="torch"|accelerator = (Cpu|Gpu)Torch$',
    re.MULTILINE,
)


def test_what_needs_pytorch_is_named_for_it_or_named_where_pytorch_is_installed() -> None:
    """Where it is not, these tests are skipped, and so `.ci/run` runs them by their files' names afterwards."""
    _, afterwards = (ROOT / ".ci/run").read_text(encoding="utf-8").split("part 'PyTorch' ")
    files = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "tests").rglob("test_*.py")}
    need = {name for name, path in files.items() if NEEDS_PYTORCH.search(path.read_text(encoding="utf-8"))}
    assert len(need) > 8
    assert "tests/{unit,contract,plugin}/**/test_*torch*.py" in afterwards
    by_pattern = re.compile(r"tests/(unit|contract|plugin)/(.*/)?test_[^/]*torch[^/]*\.py")
    assert {name for name in need if not by_pattern.fullmatch(name) and name not in afterwards} == set()
