"""The ``eia`` accelerator: Amazon Elastic Inference, with the predictor of its own TensorFlow.

AWS has ended the service. An account may still have it, or a test may replay it. Then its tools are in
``/opt/amazon/ei`` and list an accelerator, and the worker can import the predictor's package, which was never on PyPI.
In that case it is measured like any other accelerator. In all other cases it counts as ended.

Only the client library knows which accelerator was used, and prints it when it connects. That line is compared with the
options and with the list of the tools, because an ordinal may mean another accelerator. No runtime says which operators
ran on the accelerator. Operators that it cannot run stay on the host.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import Any, ClassVar, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    CompileJob,
    Missing,
    Option,
    Present,
    Refused,
    Source,
    Tensor,
)
from pytest_accel.worker.formats import saved_model, yardstick
from pytest_accel.worker.hardware import device_files, versions
from pytest_accel.worker.vendor_errors import explained

_MODEL = "saved_model"
_TOOL = "opt/amazon/ei/ei_tools/bin/ei"
#: _LOOK_TIMEOUT_S is the number of seconds within which the tool that lists accelerators has to answer.
_LOOK_TIMEOUT_S = 10.0


class Size(NamedTuple):
    """Memory and speed of one type of accelerator. ``peak_flops`` is in 16 bits, which a model may use."""

    memory_gb: int
    peak_flops: float


SIZES: Mapping[str, Size] = {
    "eia1.medium": Size(1, 8e12),
    "eia1.large": Size(2, 16e12),
    "eia1.xlarge": Size(4, 32e12),
    "eia2.medium": Size(2, 8e12),
    "eia2.large": Size(4, 16e12),
    "eia2.xlarge": Size(8, 32e12),
}


class Connection(NamedTuple):
    """The accelerator that the client library has connected to. Not every release prints the ordinal."""

    accelerator: str
    type: str
    ordinal: Optional[int]


class Unreachable(Exception):
    """The accelerator did not answer a call that it should have."""


class ElasticInference(Accelerator):
    """Amazon Elastic Inference, which AWS has ended."""

    name = "eia"
    sources = ("saved_model", "keras")
    own_options: ClassVar[Mapping[str, Option]] = {
        "accelerator_id": Option(
            int, 0, minimum=0, compiled_in=False, doc="the ordinal of the attached accelerator to use"
        ),
        "accelerator_type": Option(
            str, None, choices=(None, *SIZES), compiled_in=False, doc="the type that it has to be; None takes any"
        ),
    }

    def __init__(self) -> None:
        self._predictor: Any = None
        self._connection: Optional[Connection] = None
        self._folder = ""
        self._options: Mapping[str, Any] = {}

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        if os.path.exists(os.path.join(device_files.host_root(), _TOOL)):
            return None
        return _ended("Amazon Elastic Inference is no longer available")

    def probe(self) -> Union[Present, Missing]:
        try:
            _predictor_class()
        except ImportError as error:
            return _ended(f"Amazon Elastic Inference is no longer available, and its predictor is not here: {error}")
        attached = _attached()
        if not attached:
            return Missing(
                "no-hardware",
                "no Elastic Inference accelerator is attached, or the tool that lists them cannot reach the service",
                "attach one at the launch of the instance, with a VPC endpoint and elastic-inference:Connect",
            )
        sizes = [SIZES[kind] for kind in attached if kind in SIZES]
        identity: Dict[str, Union[str, int, float, bool, None]] = {"accelerators": ",".join(attached)}
        if sizes:
            identity["device_memory_gb"] = max(size.memory_gb for size in sizes)
        peak_flops = max((size.peak_flops for size in sizes), default=None)
        return Present("Amazon Elastic Inference", identity, peak_flops)

    def versions(self) -> Dict[str, str]:
        tensorflow = saved_model.import_tensorflow()
        return {"tensorflow": tensorflow.__version__, **versions.installed("ei-for-tf")}

    def target(self, options: Mapping[str, Any]) -> Missing:
        """Return that there is nothing to compile: the client library takes a SavedModel."""
        return Missing(
            "nothing-to-compile",
            "Elastic Inference runs the model as it is, so there is nothing to compile",
            "leave eia out of --accelerator",
        )

    def compile_job(self, job: CompileJob) -> None:
        job.progress(None, f"copying {job.source.path}")
        folder = os.path.join(job.artefact, _MODEL)
        saved_model.write_saved_model(job.source, folder)
        saved_model.check_signature(folder, job.options["signature"])

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        """Load, and make one call. The first call brings the model to the accelerator and prints which one it is."""
        self.close()
        self._folder, self._options = os.path.join(artefact, _MODEL), options
        saved_model.check_signature(self._folder, options["signature"])
        with _printed() as printed:
            try:
                self._predictor = _predictor_class()(
                    model_dir=self._folder,
                    signature_def_key=options["signature"],
                    use_ei=True,
                    accelerator_id=options["accelerator_id"],
                )
            except saved_model.import_tensorflow().errors.OpError as error:
                raise Refused(explained("the predictor cannot load this model", error)) from error
            inputs, outputs = (
                _tensors(named) for named in (self._predictor.feed_tensors, self._predictor.fetch_tensors)
            )
            self.infer({tensor.name: _zeros(tensor, options["batch_size"]) for tensor in inputs})
        self._connection = _connection("".join(printed))
        self._require_asked(self._connection)
        return inputs, outputs

    def stage(self, inputs: Arrays) -> Any:
        return {name: np.ascontiguousarray(array) for name, array in inputs.items()}

    def infer(self, staged: Any) -> Arrays:
        try:
            return {name: np.asarray(array) for name, array in self._predictor(staged).items()}
        except Exception as error:  # what the client library raises is not documented
            where = f"{self._connection.accelerator} ({self._connection.type})" if self._connection else "accelerator"
            raise Unreachable(
                f"{where} did not answer: look at the VPC endpoint, at elastic-inference:Connect, and whether the "
                f"model fits the accelerator's memory ({error})"
            ) from error

    def flops(self) -> Optional[float]:
        model = saved_model.import_tensorflow().saved_model.load(self._folder)
        function = model.signatures[self._options["signature"]]
        return saved_model.count_flops(saved_model.inlined_graph(function, self._options["batch_size"]))

    def yardstick(self, folder: str) -> Source:
        return yardstick.write(folder)

    def close(self) -> None:
        self._predictor = self._connection = None

    def _require_asked(self, used: Connection) -> None:
        """Refuse another accelerator than the options ask for, or than the tools list under the ordinal."""
        ordinal, wanted = self._options["accelerator_id"], self._options["accelerator_type"]
        attached = dict(enumerate(_attached()))
        if used.ordinal not in (None, ordinal) or wanted not in (None, used.type):
            raise Refused(
                f"accelerator_id={ordinal}, accelerator_type={wanted!r} was asked for, but the client library "
                f"connected to {used.accelerator}, an {used.type}. Attached are: {_listed(attached)}"
            )
        if attached.get(ordinal, used.type) != used.type:
            raise Refused(
                f"accelerator {ordinal} is an {used.type}, but the tools list it as {attached[ordinal]}: baselines of "
                "the two would be taken for each other; look at EI_VISIBLE_DEVICES, which numbers them anew"
            )


def _ended(reason: str) -> Missing:
    action = "serve from inf2, gpu-trt or cpu instead, or leave eia out of --accelerator"
    return Missing("support-ended", reason, action)


def _predictor_class() -> Any:
    """Import the predictor of TensorFlow 2. Raises `ImportError` where there is none."""
    saved_model.import_tensorflow()
    from ei_for_tf.python.predictor.ei_predictor import EIPredictor

    return EIPredictor


def _attached() -> List[str]:
    """Return the types of the attached accelerators in the order of ordinals, as AWS's tool lists them."""
    tool = os.path.join(device_files.host_root(), _TOOL)
    try:
        finished = subprocess.run(
            [tool, "describe-accelerators", "-j"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LOOK_TIMEOUT_S,
        )
        return [str(listed["acceleratorType"]) for listed in json.loads(finished.stdout)["acceleratorSet"]]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return []


def _listed(attached: Mapping[int, str]) -> str:
    return ", ".join(f"{ordinal} is an {kind}" for ordinal, kind in attached.items()) or "none that the tools list"


def _connection(printed: str) -> Connection:
    """Read what the client library prints when it connects. Raises `Refused` where it has not printed that."""
    facts = dict(re.findall(r"Elastic Inference Accelerator (ID|Type|Ordinal): *(\S+)", printed))
    if {"ID", "Type"} - facts.keys():
        raise Refused(
            "the client library has not said which accelerator it connected to, so the model may run on the host: look "
            "whether one is attached and can be reached"
        )
    return Connection(facts["ID"], facts["Type"], int(facts["Ordinal"]) if "Ordinal" in facts else None)


@contextmanager
def _printed() -> Iterator[List[str]]:
    """Collect what native code prints within the block. It still reaches the worker's log."""
    printed: List[str] = []
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        before = {stream: os.dup(stream) for stream in (1, 2)}
        for stream in before:
            os.dup2(file.fileno(), stream)
        try:
            yield printed
        finally:
            sys.stdout.flush()
            for stream, original in before.items():
                os.dup2(original, stream)
                os.close(original)
            file.seek(0)
            text = file.read()
            os.write(1, text)
            printed.append(text.decode(errors="replace"))


def _tensors(named: Mapping[str, Any]) -> List[Tensor]:
    return [
        Tensor(name, tensor.dtype.base_dtype.name, tuple(tensor.shape.as_list()))
        for name, tensor in sorted(named.items())
    ]


def _zeros(tensor: Tensor, batch: int) -> np.ndarray:
    sizes = [size or (batch if position == 0 else 1) for position, size in enumerate(tensor.shape)]
    return np.zeros(sizes, tensor.dtype)
