"""A stand-in for torch-neuronx 2.8: `trace`, `dynamic_batch` and `DataParallel`, with PyTorch as the engine.

Written from the API reference of AWS's SDK (2.28) and from logs: names, signatures, defaults, the operator
``neuron::forward_v2`` in the graph of what was traced, and the texts of errors. The executable is the traced module
itself with what the compiler was told; it runs on the made-up device of `neuron_device`, and answers are true but for
the cast. A traced module is on the device at once, and so is one that is loaded: it takes all cores that the process
sees, until the process ends. ``cpu_backend`` needs none, and a target.

Habits of the real one, by ``STANDIN_MISBEHAVES``: ``fails-to-compile``, ``refuses-operator`` (softmax),
``slow-compile``, ``no-compiler`` (the module comes back as it was), and those of the device: ``falls-back``, ``nan``,
``casts``, ``lost-device``, ``out-of-memory``, ``no-cores``, ``returns-early``.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import neuron_device
import numpy as np
import torch
from neuron_device import misbehaves

__version__ = "2.8.0.2.10.13553"
__all__ = ["DataParallel", "dynamic_batch", "trace"]

_MESSAGES = {
    "memory": "Could not load the model status=4 message=Allocation Failure",
    "lost": "Failed to execute the model status=1202 message=Hardware failure",
    "too-few-cores": "Could not load the model status=9 message=Failed to allocate enough NeuronCores",
    "no-cores": "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged to your system "
    "logs. See the Neuron Runtime's troubleshooting guide for help on this topic",
}
_loaded: dict[int, Any] = {}
_left: dict[int, Any] = {}


def trace(
    func: Any,
    example_inputs: Any,
    *_: Any,
    input_output_aliases: Any = {},  # noqa: B006 - as the real one has it
    compiler_workdir: str | None = None,
    compiler_args: Any = None,
    partitioner_config: Any = None,
    inline_weights_to_neff: bool = True,
    cpu_backend: bool = False,
) -> Any:
    """Compile ``func`` for these inputs into a ``ScriptModule``."""
    example = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    if misbehaves("slow-compile"):
        time.sleep(600)
    traced = torch.jit.trace(func, example, check_trace=False)
    if misbehaves("fails-to-compile"):
        raise RuntimeError("neuronx-cc failed with 70: [NCC_EOOM001] out of state buffer")
    if misbehaves("refuses-operator") and "softmax" in str(traced.inlined_graph):
        raise RuntimeError("neuronx-cc failed with 70: [NCC_EUOC002] unsupported operator: aten::softmax")
    if misbehaves("no-compiler"):
        return traced
    if cpu_backend and not _target(compiler_args or []):
        raise RuntimeError("cpu_backend needs the target of the compiler: --target")
    file = io.BytesIO()
    torch.jit.save(traced, file)
    made = _Compiled(file.getvalue(), {"batch": len(example[0]), "cast": _cast(compiler_args or []), "dynamic": False})
    _core.compiles = True  # tracing calls the operator
    try:
        on_device = torch.jit.trace(made, example, check_trace=False)
    finally:
        _core.compiles = False
    if not cpu_backend:
        _take_cores()
    return on_device


def dynamic_batch(neuron_script: Any, enable: bool = True) -> Any:
    """Have the runtime cut a call into compiled batches."""
    told = json.loads(bytes(neuron_script.facts.numpy()))
    neuron_script.facts.set_(_as_tensor(json.dumps({**told, "dynamic": enable}).encode()))
    return neuron_script


class DataParallel(torch.nn.Module):  # type: ignore[misc] # PyTorch is not known before it is imported
    """Copies of a traced module that share the items of a call."""

    def __init__(self, model: Any, device_ids: Any = None, dim: int = 0, set_dynamic_batching: bool = True) -> None:
        super().__init__()
        self._model = dynamic_batch(model) if set_dynamic_batching else model
        self._copies = len(device_ids) if device_ids is not None else len(_take_cores())
        self._dim = dim
        self.num_workers = 2 * self._copies

    def forward(self, *inputs: Any) -> Any:
        pieces = list(zip(*(torch.chunk(tensor, self._copies, self._dim) for tensor in inputs), strict=True))
        with ThreadPoolExecutor(self.num_workers) as workers:
            made = list(workers.map(self._run, range(len(pieces)), pieces))
        return tuple(torch.cat(parts, self._dim) for parts in zip(*made, strict=True))

    def _run(self, copy: int, piece: Any) -> Any:
        with torch.inference_mode():
            _core.at = copy
            return self._model(*piece)


class _Core(threading.local):
    at = 0
    compiles = False


_core = _Core()


class _Compiled(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, neff: bytes, facts: dict[str, Any]) -> None:
        super().__init__()
        self.register_buffer("neff", _as_tensor(neff))
        self.register_buffer("facts", _as_tensor(json.dumps(facts).encode()))

    def forward(self, *inputs: Any) -> Any:
        return tuple(torch.ops.neuron.forward_v2(list(inputs), self.neff, self.facts))


def _forward(inputs: Any, neff: Any, facts: Any) -> Any:
    with _in_words():
        return _run(inputs, neff, json.loads(bytes(facts.numpy())))


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except neuron_device.Failed as failed:
        raise RuntimeError(_MESSAGES[failed.why]) from failed


def _take_cores() -> Any:
    with _in_words():
        return neuron_device.cores_of_process(1)


def _run(inputs: Any, neff: Any, facts: dict[str, Any]) -> Any:
    rows, batch = len(inputs[0]), facts["batch"]
    if rows != batch and not facts["dynamic"]:
        raise RuntimeError(f"Incorrect tensor shape at input tensor #0: received {rows} rows, expected {batch}")
    if _core.compiles:
        return list(_executable(neff)(*inputs))
    cores = neuron_device.cores_of_process(1)
    made = []
    for start in range(0, rows, batch):
        piece = [_padded(tensor[start : start + batch], batch) for tensor in inputs]
        made.append(_execute(piece, neff, facts, cores[(_core.at + start // batch) % len(cores)]))
    return [torch.cat(parts)[:rows] for parts in zip(*made, strict=True)]


def _execute(inputs: Any, neff: Any, facts: dict[str, Any], core: Any) -> Any:
    neuron_device.before_a_call()
    rounded = neuron_device.ROUNDINGS["casts" if misbehaves("casts") else facts["cast"]]

    def cast(tensors: Any) -> Any:
        return [torch.from_numpy(np.array(rounded(tensor.detach().numpy()))) for tensor in tensors]

    outputs = cast(_executable(neff)(*cast(inputs)))
    if misbehaves("returns-early"):
        before = _left.get(neff.data_ptr()) or [torch.zeros_like(tensor) for tensor in outputs]
        _left[neff.data_ptr()] = outputs
        outputs = before
    if misbehaves("nan"):
        outputs[0].view(-1)[0] = float("nan")
    neuron_device.count(core)
    return outputs


def _executable(neff: Any) -> Any:
    if neff.data_ptr() not in _loaded:
        _loaded[neff.data_ptr()] = torch.jit.load(io.BytesIO(bytes(neff.numpy()))), neff
    return _loaded[neff.data_ptr()][0]


def _padded(tensor: Any, rows: int) -> Any:
    missing = rows - len(tensor)
    return tensor if not missing else torch.cat([tensor, tensor.new_zeros((missing, *tensor.shape[1:]))])


def _cast(compiler_args: Any) -> str:
    given = compiler_args.split() if isinstance(compiler_args, str) else list(compiler_args)
    told = dict(flag.split("=", 1) for flag in given if "=" in flag)
    casts = {"bf16": "bfloat16", "fp16": "float16", "tf32": "tf32"}
    return "float32" if told.get("--auto-cast", "matmult") == "none" else casts[told.get("--auto-cast-type", "bf16")]


def _target(compiler_args: Any) -> str:
    given = compiler_args.split() if isinstance(compiler_args, str) else list(compiler_args)
    parts = [part for flag in given for part in flag.split("=", 1)]
    return str(parts[parts.index("--target") + 1]) if "--target" in parts else ""


def _load(file: Any, *args: Any, **options: Any) -> Any:
    module = _load_module(file, *args, **options)
    if "neuron::forward" in str(module.inlined_graph):
        _take_cores()
    return module


def _as_tensor(raw: bytes) -> Any:
    return torch.from_numpy(np.frombuffer(raw, np.uint8).copy())


_library = torch.library.Library("neuron", "DEF")
_library.define("forward_v2(Tensor[] inputs, Tensor neff, Tensor facts) -> Tensor[]")
_library.impl("forward_v2", _forward, "CompositeExplicitAutograd")

_load_module, torch.jit.load = torch.jit.load, _load
