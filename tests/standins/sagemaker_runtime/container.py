"""The TensorFlow Serving container: bodies in, bodies out, and the model's true answers between.

Its REST API is TensorFlow Serving's; which content types it takes, and that the header of custom attributes chooses the
model, is the script's in front of it. Like a container with an ``inference.py`` it takes npy too where ``takes_npy``.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

_JSON_TYPES = ("application/json", "application/jsonlines", "application/jsons")
_ATTRIBUTE = re.compile(r"(tfs-[a-z-]+)=([^,=]+)")


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"


class Container:
    """One model of one name."""

    def __init__(self, saved_model: Path, *, name: str = "model", takes_npy: bool = False) -> None:
        self._model = tf.saved_model.load(str(saved_model))  # held, because it owns the variables
        self._name = name
        self._takes_npy = takes_npy

    def invocations(self, body: bytes, content_type: str, accept: str, custom_attributes: str) -> Answer:
        """POST /invocations."""
        attributes = dict(_ATTRIBUTE.findall(custom_attributes))
        model = attributes.get("tfs-model-name", self._name)
        if content_type == "application/x-npy" and self._takes_npy:
            return self._npy(body)
        if content_type not in _JSON_TYPES:
            return _error(415, f"Unsupported Media Type: {content_type or 'Unknown'}")
        if model != self._name:
            return _error(404, f"Servable not found for request: Latest({model})")
        try:
            request = json.loads(body)
            told = self._predict(request if isinstance(request, dict) else {"instances": request})
        except (ValueError, TypeError, KeyError, tf.errors.InvalidArgumentError) as error:
            return _error(400, f"Failed to process element: 0 of 'instances' list. Error: Invalid argument: {error}")
        answered_in = accept.split(",")[0].strip()
        return Answer(200, json.dumps(told).encode(), answered_in if answered_in in _JSON_TYPES else "application/json")

    def _predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        signature = self._model.signatures[request.get("signature_name", "serving_default")]
        _, specs = signature.structured_input_signature
        if "inputs" in request:
            columns = (
                request["inputs"] if isinstance(request["inputs"], dict) else {next(iter(specs)): request["inputs"]}
            )
        else:
            rows = request["instances"]
            named = rows if isinstance(rows[0], dict) else [{next(iter(specs)): row} for row in rows]
            columns = {name: [row[name] for row in named] for name in named[0]}
        if columns.keys() != specs.keys():
            raise ValueError(f"input keys {sorted(columns)} differ from {sorted(specs)}")
        outputs = {name: array.numpy().tolist() for name, array in signature(**_tensors(columns, specs)).items()}
        if "inputs" in request:
            return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}
        rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
        return {"predictions": next(iter(outputs.values())) if len(outputs) == 1 else rows}

    def _npy(self, body: bytes) -> Answer:
        signature = self._model.signatures["serving_default"]
        _, specs = signature.structured_input_signature
        (name,) = specs
        (output,) = signature(**{name: tf.constant(np.load(io.BytesIO(body)))}).values()
        file = io.BytesIO()
        np.save(file, output.numpy())
        return Answer(200, file.getvalue(), "application/x-npy")


def write_network(folder: Path) -> None:
    """Write a network whose answers differ for any two inputs, because it is linear: image (8, 8, 1) to scores (10)."""
    weights = tf.constant(np.random.default_rng(7).normal(size=(64, 10)).astype(np.float32))
    network = tf.Module()
    scores = tf.function(
        lambda image: {"scores": tf.reshape(image, [-1, 64]) @ weights},
        input_signature=[tf.TensorSpec([None, 8, 8, 1], name="image")],
    )
    tf.saved_model.save(network, str(folder), signatures={"serving_default": scores})


def _tensors(columns: Mapping[str, Any], specs: Mapping[str, Any]) -> dict[str, Any]:
    tensors = {name: tf.constant(value, specs[name].dtype) for name, value in columns.items()}
    for name, tensor in tensors.items():
        if not specs[name].shape.is_compatible_with(tensor.shape):
            raise ValueError(f"input {name} has shape {tensor.shape}, expected {specs[name].shape}")
    return tensors


def _error(status: int, message: str) -> Answer:
    return Answer(status, json.dumps({"error": message}).encode())
