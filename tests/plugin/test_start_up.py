"""The plugin is loaded by every pytest run of its environment, so it brings nothing heavy along."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numpy", "msgspec", "execnet", "filelock", "psutil", "platformdirs", "tensorflow", "keras", "onnxruntime"}
LOADED_BY = """
import sys
before = set(sys.modules)
{statement}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("import pytest_accel.plugin.hooks", id="import"),
        pytest.param("import pytest; pytest.main(['-q', '-p', 'pytest_accel.plugin.hooks'])", id="run"),
    ],
)
def test_a_run_without_accelerator_tests_loads_nothing_heavy(
    statement: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # xdist would bring execnet along
    pytester.makepyfile("def test_nothing(): pass")
    program = LOADED_BY.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "pytest_accel" in loaded
    assert not loaded & HEAVY
