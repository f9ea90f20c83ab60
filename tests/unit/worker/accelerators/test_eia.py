from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_accel.worker.accelerator import Missing, Present, Refused
from pytest_accel.worker.accelerators import eia
from pytest_accel.worker.accelerators.eia import SIZES, Connection, ElasticInference
from tests.standins import elastic_inference_host

PRINTED = """\
Using Amazon Elastic Inference Client Library Version: 1.5.3
Number of Elastic Inference Accelerators Available: 2
Elastic Inference Accelerator ID: eia-679e4c622d584803aed5b42ab6a97706
Elastic Inference Accelerator Type: eia2.xlarge
Elastic Inference Accelerator Ordinal: 1
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the made-up machine lies; the predictor is here."""
    monkeypatch.setenv("ACCEL_HOST_ROOT", str(tmp_path))
    monkeypatch.setattr(eia, "_predictor_class", lambda: None)
    return tmp_path


def test_the_service_has_ended_where_nothing_speaks_for_it(root: Path) -> None:
    missing = ElasticInference.probe_hardware()
    assert missing is not None
    assert missing.kind == "support-ended"
    elastic_inference_host.make(root, "eia2.medium")
    assert ElasticInference.probe_hardware() is None


def test_without_the_predictor_it_has_ended_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise ImportError("No module named 'ei_for_tf'")

    monkeypatch.setattr(eia, "_predictor_class", absent)
    missing = ElasticInference().probe()
    assert isinstance(missing, Missing)
    assert missing.kind == "support-ended"
    assert "No module named 'ei_for_tf'" in missing.reason


@pytest.mark.parametrize("script", ["exit 1", "echo '{}'", "echo 'Could not connect'", "exec sleep 60"])
def test_a_tool_that_lists_nothing_means_that_none_is_attached(
    root: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(eia, "_LOOK_TIMEOUT_S", 0.2 if "sleep" in script else 5.0)
    elastic_inference_host.make(root, script=script)
    missing = ElasticInference().probe()
    assert isinstance(missing, Missing)
    assert missing.kind == "no-hardware"


@pytest.mark.parametrize("kind", SIZES)
def test_sizes_are_known_by_their_type(root: Path, kind: str) -> None:
    elastic_inference_host.make(root, kind)
    found = ElasticInference().probe()
    assert isinstance(found, Present)
    assert found.identity == {"accelerators": kind, "device_memory_gb": SIZES[kind].memory_gb}
    assert found.peak_flops == SIZES[kind].peak_flops


def test_what_the_library_prints_names_the_accelerator_in_use() -> None:
    assert eia._connection(PRINTED) == Connection("eia-679e4c622d584803aed5b42ab6a97706", "eia2.xlarge", 1)
    without_ordinal = PRINTED.replace("Elastic Inference Accelerator Ordinal: 1\n", "")
    assert eia._connection(without_ordinal).ordinal is None


@pytest.mark.parametrize("line", ["ID", "Type"])
def test_a_library_that_does_not_name_it_is_not_believed(line: str) -> None:
    printed = "".join(each for each in PRINTED.splitlines(keepends=True) if f"Accelerator {line}" not in each)
    with pytest.raises(Refused, match="has not said which accelerator it connected to"):
        eia._connection(printed)


@pytest.mark.parametrize(
    ("ordinal", "kind", "used", "why"),
    [
        (
            0,
            "eia2.large",
            Connection("eia-1", "eia2.xlarge", 1),
            r"connected to eia-1, an eia2\.xlarge\. Attached",
        ),
        (1, "eia2.large", Connection("eia-1", "eia2.xlarge", 1), r"'eia2\.large' was asked for"),
        (0, None, Connection("eia-1", "eia2.large", 1), "was asked for"),
        (0, None, Connection("eia-9", "eia2.xlarge", 0), r"but the tools list it as eia2\.large.*EI_VISIBLE_DEVICES"),
    ],
)
def test_another_accelerator_than_asked_for_is_refused(
    root: Path, ordinal: int, kind: str | None, used: Connection, why: str
) -> None:
    elastic_inference_host.make(root, "eia2.large", "eia2.xlarge")
    accelerator = ElasticInference()
    accelerator._options = {"accelerator_id": ordinal, "accelerator_type": kind}
    with pytest.raises(Refused, match=why):
        accelerator._require_asked(used)


@pytest.mark.parametrize("kind", [None, "eia2.xlarge"])
def test_the_one_asked_for_is_taken(root: Path, kind: str | None) -> None:
    elastic_inference_host.make(root, "eia2.large", "eia2.xlarge")
    accelerator = ElasticInference()
    accelerator._options = {"accelerator_id": 1, "accelerator_type": kind}
    accelerator._require_asked(Connection("eia-1", "eia2.xlarge", 1))
    accelerator._require_asked(Connection("eia-1", "eia2.xlarge", None))


def test_what_native_code_prints_is_heard_and_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with eia._printed() as printed:
        os.write(1, b"to stdout\n")
        os.write(2, b"to stderr\n")
    assert printed == ["to stdout\nto stderr\n"]
    os.write(1, b"afterwards\n")
    assert capfd.readouterr().out == "to stdout\nto stderr\nafterwards\n"
