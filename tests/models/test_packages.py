"""The models inside packages of PyPI, as their authors ship them, on ONNX Runtime and OpenVINO.

Each passes, or is refused in the words that the runtime itself has for it when nobody stands between.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.plugin.conftest import Project
from tests.plugin.conftest import undisturbed as undisturbed

pytestmark = pytest.mark.slow

#: PACKAGES has the releases that are downloaded.
PACKAGES = {
    "silero-vad": "6.2.3",
    "rapidocr-onnxruntime": "1.4.4",
    "magika": "1.0.3",
    "nudenet": "3.4.2",
    "basic-pitch": "0.4.0",
}
#: DATA is the code that makes two rows or calls of data for the models of a package, by the name of the file.
DATA = {
    "silero-vad": """
        sound, state = noise(1, 576), np.zeros((2, 1, 128), np.float32)
        told = {"input": sound, "state": state, "sr": np.array(16000)}
        plain = {"input": sound, "state": state}
        parts = {"input": noise(5, 576), "h": state[:1], "c": state[:1]}
        DATA = {
            "silero_vad": [told], "silero_vad_16k_op15": [told], "silero_vad_op18_ifless": [told],
            "silero_vad_half": [plain], "silero_vad_openvino_16k": [plain], "silero_vad_16k_sequence": [parts],
        }
    """,
    "rapidocr-onnxruntime": """
        DATA = {
            "ch_PP-OCRv4_det_infer": noise(1, 3, 64, 64), "ch_PP-OCRv4_rec_infer": noise(1, 3, 48, 96),
            "ch_ppocr_mobile_v2.0_cls_infer": noise(2, 3, 48, 96),
        }
    """,
    "magika": "DATA = {'model': np.random.default_rng(1).integers(0, 257, (2, 2048)).astype(np.int32)}",
    "nudenet": "DATA = {'320n': noise(1, 3, 160, 160)}",
    "basic-pitch": "DATA = {'nmp': noise(1, 43844, 1)}",
}
CHECK = """
import numpy as np
import pytest
from pathlib import Path

def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)

{data}

@pytest.mark.parametrize("file", sorted(Path("unpacked").rglob("*.onnx")), ids=lambda file: file.stem)
@pytest.mark.accelerator("cpu-ort", "cpu-openvino")
def test_model(accel_model, file):
    accel_model(file).check(DATA[file.stem])
"""
#: ASK prints what each runtime itself says of a model, as JSON: an empty text where it takes the model.
ASK = """
import json, sys
import onnxruntime, openvino
runtimes = {
    "cpu-ort": lambda path: onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]),
    "cpu-openvino": lambda path: openvino.Core().compile_model(path, "CPU"),
}
told = {}
for path in sys.argv[1:]:
    for name, load in runtimes.items():
        try:
            load(path)
            told[f"{name} {path}"] = ""
        except Exception as error:
            told[f"{name} {path}"] = str(error)
print(json.dumps(told))
"""
#: OWN_WORDS finds a line of a runtime that says something of the model, and not where in the runtime it was found.
OWN_WORDS = re.compile(
    r"^.*(?:validating ONNX node|has to be known|Conversion is failed for|\[ONNXRuntimeError\]).*$", re.M
)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    if missing := [name for name in ("onnxruntime", "openvino") if not any(distributions(name=name))]:
        pytest.skip(f"needs {' and '.join(missing)}: pip install 'pytest-accel[cpu-ort,cpu-openvino]'")
    return Project(pytester, monkeypatch)


def unpacked(package: str, folder: Path) -> list[Path]:
    """The models of a package, each with its path. Skips where the package cannot be had."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    downloaded = subprocess.run(
        [*pip, f"{package}=={PACKAGES[package]}"], capture_output=True, text=True, check=False, timeout=300
    )
    if downloaded.returncode:
        pytest.skip(f"{package} cannot be downloaded: {downloaded.stderr.strip().splitlines()[-1]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".onnx")]
        archive.extractall(folder / "unpacked", members=names)
    return sorted((folder / "unpacked").rglob("*.onnx"))


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.usefixtures("undisturbed")
def test_a_models_cause_is_the_runtimes_own(project: Project, package: str) -> None:
    folder = project.pytester.path
    models = unpacked(package, folder)
    assert models
    data = "\n".join(line.removeprefix(8 * " ") for line in DATA[package].splitlines())
    project.pytester.makepyfile(test_package=CHECK.format(data=data))
    result = project.run("--accelerator=cpu-ort,cpu-openvino", "--accel-report=record.json", workers=True)
    asked = subprocess.run([sys.executable, "-c", ASK, *models], capture_output=True, text=True, check=True)
    itself = {
        f"test_package.py::test_model[{where.partition(' ')[0]}-{Path(where.partition(' ')[2]).stem}]": words
        for where, words in json.loads(asked.stdout.splitlines()[-1]).items()
    }
    refused = {test: words for test, words in itself.items() if words}
    result.assert_outcomes(passed=len(itself) - len(refused), failed=len(refused))
    failures = json.loads((folder / "record.json").read_text())["failures"]
    assert {failure["test"] for failure in failures} == refused.keys()
    for failure in failures:
        own = OWN_WORDS.findall(refused[failure["test"]])
        assert own
        assert any(line in failure["message"] for line in own), failure["message"]
