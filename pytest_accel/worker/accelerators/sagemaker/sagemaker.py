"""The ``sagemaker`` accelerator: an existing SageMaker endpoint, called with boto3, or one deployed for the test.

An endpoint is billed and may serve customers, so nothing is contacted unless ``ACCEL_SAGEMAKER=allow`` is in the
environment. Somebody who checks out a project and runs the tests has not agreed to calls in an own account, whatever
the project's files say. Compiling only records the model's inputs and outputs, and packs a model that is to be
deployed. A timed call includes all that a client waits for: serialising, request, answer and parsing. The times of
serialising and of parsing are also reported apart.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import deque
from statistics import median
from typing import Any, ClassVar, Deque, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from pytest_accel.worker.accelerator import (
    Accelerator,
    Arrays,
    CompileJob,
    FarSide,
    Missing,
    Observed,
    Option,
    Present,
    Progress,
    Refused,
    Tensor,
    require_loaded,
)
from pytest_accel.worker.accelerators.sagemaker import body, deployment, leftovers
from pytest_accel.worker.accelerators.sagemaker.deployment import ARCHIVE, Deployment, Order, pack
from pytest_accel.worker.accelerators.sagemaker.endpoint import Account, Behind, Calls, identity, look_behind
from pytest_accel.worker.accelerators.sagemaker.errors import EndpointFailed
from pytest_accel.worker.accelerators.sagemaker.gpu_use import gpu_was_idle
from pytest_accel.worker.accelerators.sagemaker.images import device_of
from pytest_accel.worker.formats import saved_model
from pytest_accel.worker.hardware import versions

OPT_IN = "ACCEL_SAGEMAKER"
_FACTS = "artefact.json"
#: _CALLS_KEPT is the number of the last calls, at most, of whose times of serialising and parsing the medians are
#: taken.
_CALLS_KEPT = 1000
_RENEW = "give boto3 valid credentials, or leave sagemaker out of --accelerator"


class SageMaker(Accelerator):
    """A SageMaker endpoint, for models that TensorFlow made."""

    name = "sagemaker"
    extra = "sagemaker"
    sources = ("saved_model", "keras")
    concurrent = True
    remote = True
    deploys = True
    own_options: ClassVar[Mapping[str, Option]] = {
        "batch_size": Option(int, 1, minimum=1, compiled_in=False, doc="items in one call"),
        "endpoint": Option(str, None, doc="name of an existing endpoint"),
        "production_variant": Option(str, None, doc="which of an endpoint's production variants"),
        "instance_type": Option(str, None, doc="instance type to deploy to, such as ml.c5.xlarge"),
        "accelerator_type": Option(str, None, doc="Elastic Inference size to attach to it"),
        "payload": Option(
            str,
            "instances",
            choices=tuple(body.CONTENT_TYPES),
            compiled_in=False,
            doc="JSON by rows (instances) or columns (inputs), or NumPy's npy",
        ),
        "model_name": Option(str, None, compiled_in=False, doc="the container's model, where it has several"),
        "read_timeout_s": Option(float, 70.0, minimum=0.1, compiled_in=False, doc="seconds to wait for an answer"),
    }

    def __init__(self) -> None:
        self._deployment: Optional[Deployment] = None
        self._account: Optional[Account] = None
        self._behind: Optional[Behind] = None
        self._call: Optional[Calls] = None
        self._called_s: Tuple[float, float] = (0.0, 0.0)
        self._outputs: Sequence[Tensor] = ()
        self._options: Mapping[str, Any] = {}
        self._parts_ns: Deque[Tuple[int, int]] = deque(maxlen=_CALLS_KEPT)

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> Optional[str]:
        if (options["endpoint"] is None) == (options["instance_type"] is None):
            return "name an existing endpoint=, or the instance_type= to deploy one to for the test"
        if options["endpoint"] is not None and options["accelerator_type"] is not None:
            return "accelerator_type= is for an endpoint that is deployed for the test, with instance_type="
        return None

    @classmethod
    def probe_hardware(cls) -> Optional[Missing]:
        if os.environ.get(OPT_IN) == "allow":
            return None
        return Missing(
            "not-opted-in",
            "a SageMaker endpoint is remote and billed, and is never contacted by itself",
            f"set {OPT_IN}=allow in the environment, or leave sagemaker out of --accelerator",
        )

    def probe(self) -> Union[Present, Missing]:
        try:
            account = Account()
        except ImportError as error:
            return Missing("no-sdk", f"boto3 cannot be imported: {error}", f"pip install 'pytest-accel[{self.extra}]'")
        except EndpointFailed as error:
            return Missing("no-access", f"boto3's credentials cannot be used: {error.words}", error.advice or _RENEW)
        if not account.region:
            return Missing("no-access", "boto3 knows no region", "name it in AWS_DEFAULT_REGION")
        if not account.has_credentials:
            return Missing(
                "no-access",
                "boto3 finds no credentials",
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        deployment.delete_leftovers()
        for sentence in _left_by_earlier_runs(account):
            self.announce(sentence)
        return Present(f"SageMaker in {account.region}", {"region": account.region})

    def versions(self) -> Dict[str, str]:
        return versions.installed("boto3", "botocore")

    def target(self, options: Mapping[str, Any]) -> Missing:
        """Return that an endpoint has nothing to compile here. What is packed for it needs the account."""
        return Missing(
            "nothing-to-compile",
            "a SageMaker endpoint runs the model as it is, so there is nothing to compile here",
            "leave sagemaker out of --accelerator",
        )

    def far_side(self, options: Mapping[str, Any]) -> FarSide:
        account = Account()
        if options["endpoint"] is not None:
            return look_behind(account, options["endpoint"], options["production_variant"]).far_side(account.region)
        if options["instance_type"] is None:
            raise Refused(f"sagemaker: {self.impossible(options)}")
        there = identity(account.region, options["instance_type"], options["accelerator_type"], instances=1)
        return FarSide({"serving-image": Order.for_instance(options["instance_type"]).image}, there)

    def compile_job(self, job: CompileJob) -> None:
        options = job.options
        job.progress(None, f"reading the signature of {job.source.path}")
        with tempfile.TemporaryDirectory() as scratch:
            model = os.path.join(scratch, "model")
            saved_model.write_saved_model(job.source, model)
            inputs, outputs = saved_model.tensors_of_signature(model, options["signature"])
            if options["endpoint"] is None:
                job.progress(None, "packing the model")
                pack(model, os.path.join(job.artefact, ARCHIVE))
        facts = {
            "accelerator": self.name,
            "inputs": [vars(tensor) for tensor in inputs],
            "outputs": [vars(tensor) for tensor in outputs],
            "versions": self.far_side(options).versions,
        }
        with open(os.path.join(job.artefact, _FACTS), "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=2, sort_keys=True)

    def deploy(self, artefact: str, options: Mapping[str, Any], progress: Progress) -> None:
        if options["endpoint"] is not None:
            self._release()
            return
        deployed = Deployment.of(
            Account(),
            Order.for_instance(options["instance_type"]),
            os.path.join(artefact, ARCHIVE),
            (options["instance_type"], options["accelerator_type"]),
            progress=progress,
            announce=self.announce,
        )
        self._release()  # not before the new one is held: it may be the same
        self._deployment = deployed

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        with open(os.path.join(artefact, _FACTS), encoding="utf-8") as file:
            facts = json.load(file)
        account, endpoint = Account(), options["endpoint"]
        if endpoint is None:
            endpoint = require_loaded(self._deployment).name
        behind = look_behind(account, endpoint, options["production_variant"])
        if options["endpoint"] is not None and behind.versions != facts["versions"]:
            raise Refused(_changed(endpoint, facts["versions"], behind.versions))
        self._account, self._behind, self._called_s = account, behind, (0.0, 0.0)
        self._call = Calls(
            account,
            behind,
            account.timed(options["read_timeout_s"], connections=max(10, options["concurrency"])),
            body.CONTENT_TYPES[options["payload"]],
            f"tfs-model-name={options['model_name']}" if options["model_name"] else "",
        )
        self._parts_ns.clear()
        inputs, self._outputs = ([_tensor(stored) for stored in facts[side]] for side in ("inputs", "outputs"))
        self._options = options
        return inputs, list(self._outputs)

    def stage(self, inputs: Arrays) -> Arrays:
        return inputs

    def infer(self, staged: Arrays) -> Arrays:
        call = require_loaded(self._call)
        self._called_s = self._called_s[0] or time.time(), time.time()
        began_ns = self.clock()
        request = body.encoded(staged, self._options["payload"], self._options["signature"])
        sent_ns = self.clock()
        answer, content_type = call(request)
        answered_ns = self.clock()
        outputs = body.decoded(answer, content_type, self._outputs)
        self._parts_ns.append((sent_ns - began_ns, self.clock() - answered_ns))
        return outputs

    def parts_ms(self) -> Dict[str, float]:
        parts = zip(("serialising", "parsing"), zip(*self._parts_ns))
        return {name: median(times_ns) / 1e6 for name, times_ns in parts}

    def placement(self) -> Observed:
        """Return that nothing ran on the GPU, where CloudWatch says so. How much of a model did, nobody tells."""
        account, behind = require_loaded(self._account), require_loaded(self._behind)
        if device_of(behind.instance_type) != "gpu" or not gpu_was_idle(account, behind, self._called_s):
            return Observed(on_device=None, precisions={})
        self.announce(
            f"endpoint {behind.endpoint} computes on the host: CloudWatch says that the GPU of {behind.instance_type} "
            f"was idle and its memory empty while it answered; is {behind.versions['serving-image']} made for GPUs?"
        )
        return Observed(on_device=0.0, precisions={})

    def delete_deployments(self, patience_s: float, progress: Progress) -> List[str]:
        self.close()
        if not deployment.may_deploy():
            return []
        return [*deployment.wait_for_deletions(patience_s, progress), *_left_by_earlier_runs(Account())]

    def close(self) -> None:
        self._release()
        self._account = self._behind = self._call = None
        self._parts_ns.clear()

    def _release(self) -> None:
        if self._deployment is not None:
            self._deployment.release()
        self._deployment = None


def _left_by_earlier_runs(account: Account) -> List[str]:
    """Delete what earlier runs have left in the account, where this one may deploy too. Returns what to tell."""
    if not deployment.may_deploy():
        return []
    try:
        return leftovers.delete_expired(account)
    except (EndpointFailed, Refused) as error:
        return [str(error)]


def _tensor(stored: Mapping[str, Any]) -> Tensor:
    return Tensor(stored["name"], stored["dtype"], tuple(stored["shape"]))


def _changed(endpoint: str, before: Mapping[str, str], current: Mapping[str, str]) -> str:
    moved = [f"{name} {before.get(name)} -> {current[name]}" for name in current if before.get(name) != current[name]]
    return f"endpoint {endpoint!r} has been deployed anew since this artefact was made: {'; '.join(moved)}"
