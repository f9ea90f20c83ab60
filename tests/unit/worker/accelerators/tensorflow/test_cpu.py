from __future__ import annotations

import pytest

from pytest_accel.worker.accelerators.tensorflow import cpu

EPYC_MILAN, SAPPHIRE_RAPIDS = "avx2 fma", "avx2 fma avx512f avx512_vnni amx_tile"


@pytest.mark.parametrize(
    ("release", "flags", "switch", "state"),
    [
        ("2.18.0", SAPPHIRE_RAPIDS, None, "on"),
        ("2.18.0", EPYC_MILAN, None, "off"),
        ("2.8.4", SAPPHIRE_RAPIDS, None, "off"),
        ("2.18.0", SAPPHIRE_RAPIDS, "0", "off"),
        ("2.18.0", SAPPHIRE_RAPIDS, "False", "off"),
        ("2.18.0", EPYC_MILAN, "1", "on"),
        ("2.18.0", EPYC_MILAN, "true", "on"),
        ("2.18.0", EPYC_MILAN, "yes", "off"),
    ],
)
def test_onednn_is_on_where_tensorflow_switches_it_on(
    monkeypatch: pytest.MonkeyPatch, release: str, flags: str, switch: str | None, state: str
) -> None:
    monkeypatch.setattr("pytest_accel.worker.hardware.processor.identity", lambda: {"cpu_flags": flags})
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if switch is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", switch)
    assert cpu._onednn(release) == state
