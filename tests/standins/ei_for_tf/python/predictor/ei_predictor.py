"""Stand-in of ``EIPredictor``: a session that a SavedModel is loaded into, called with a dict of arrays."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def misbehaves(habit: str) -> bool:
    """Whether this habit is switched on."""
    return os.environ.get("STANDIN_MISBEHAVES") == habit


class EIPredictor:
    """Runs one signature of a SavedModel on an accelerator. The first call connects and brings the model there."""

    def __init__(
        self,
        model_dir: str,
        signature_def_key: str | None = None,
        signature_def: Any = None,
        input_names: dict[str, str] | None = None,
        output_names: dict[str, str] | None = None,
        tags: str | None = None,
        graph: Any = None,
        config: Any = None,
        use_ei: bool = True,
        accelerator_id: int = 0,
    ) -> None:
        if signature_def_key is None:
            print("Using DEFAULT_SERVING_SIGNATURE_DEF_KEY .....")
        v1 = tf.compat.v1
        self.graph = graph or tf.Graph()
        self.session = v1.Session(graph=self.graph, config=config)
        if misbehaves("refuses-operator"):
            raise tf.errors.NotFoundError(
                None,
                None,
                "Op type not registered 'DisableCopyOnRead' in binary running on ip-10-0-0-7. Make sure the Op and "
                "Kernel are registered in the binary running in this process.",
            )
        with self.graph.as_default():
            loaded = v1.saved_model.load(self.session, [tags or "serve"], model_dir)
        described = signature_def or loaded.signature_def[signature_def_key or "serving_default"]
        feeds = input_names or {name: tensor.name for name, tensor in described.inputs.items()}
        fetches = output_names or {name: tensor.name for name, tensor in described.outputs.items()}
        self._feed_tensors = {name: self.graph.get_tensor_by_name(tensor) for name, tensor in feeds.items()}
        self._fetch_tensors = {name: self.graph.get_tensor_by_name(tensor) for name, tensor in fetches.items()}
        self._use_ei, self._accelerator_id, self._calls = use_ei, accelerator_id, 0

    @property
    def feed_tensors(self) -> dict[str, Any]:
        """The inputs by their aliases."""
        return self._feed_tensors

    @property
    def fetch_tensors(self) -> dict[str, Any]:
        """The outputs by their aliases."""
        return self._fetch_tensors

    def __call__(self, input_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        unexpected = set(input_dict) - set(self._feed_tensors)
        if unexpected:
            raise ValueError(f"Got unexpected keys in input_dict: {unexpected}\nexpected: {set(self._feed_tensors)}")
        if self._use_ei and not self._calls:
            self._connect()
        self._calls += 1
        if misbehaves("lost-device") and self._calls > 20:
            raise RuntimeError("Failed to run on the accelerator: deadline exceeded, UNAVAILABLE")
        outputs = self.session.run(
            self._fetch_tensors, {self._feed_tensors[name]: array for name, array in input_dict.items()}
        )
        return {name: _spoilt(array) for name, array in outputs.items()}

    def _connect(self) -> None:
        attached = _accelerators()
        print("Using Amazon Elastic Inference Client Library Version: 1.5.3")
        print(f"Number of Elastic Inference Accelerators Available: {len(attached)}")
        if misbehaves("falls-back"):
            return
        if misbehaves("slow-compile"):
            Path(os.environ["ACCEL_HOST_ROOT"], "slow-compile").touch()
            time.sleep(600)
        if misbehaves("out-of-memory"):
            raise RuntimeError("Failed to load the model: not enough accelerator memory")
        ordinal = self._accelerator_id if not misbehaves("wrong-accelerator") else len(attached) - 1
        print(f"Elastic Inference Accelerator ID: {attached[ordinal]['acceleratorId']}")
        print(f"Elastic Inference Accelerator Type: {attached[ordinal]['acceleratorType']}")
        print(f"Elastic Inference Accelerator Ordinal: {ordinal}", flush=True)


def _accelerators() -> list[dict[str, str]]:
    """What the library learns from the service; here, from the file that the made-up tool lists."""
    tool = os.path.join(os.environ["ACCEL_HOST_ROOT"], "opt/amazon/ei/ei_tools/bin/ei")  # noqa: PTH118
    told = subprocess.run([tool, "describe-accelerators", "-j"], stdout=subprocess.PIPE, check=True)
    listed: list[dict[str, str]] = json.loads(told.stdout)["acceleratorSet"]
    return listed


def _spoilt(array: np.ndarray) -> np.ndarray:
    """The outputs with the habits that change them."""
    if misbehaves("nan"):
        array = array.copy()
        array.flat[0] = np.nan
    if misbehaves("casts"):
        array = np.where(array > 0.99 * array.max(), array, 0.0).astype(array.dtype)
    return array
