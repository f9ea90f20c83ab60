"""Exported PyTorch programs on Neuron devices: tracing a program with torch-neuronx, and running the result.

torch-neuronx compiles a whole program into one executable inside a TorchScript module, or fails. It leaves nothing to
the host. A module that was traced on a device is loaded to it, with all cores that the process sees; so the trace is
made on the processor, which needs to be told the target. The inputs, outputs and operators of the program are written
beside the module, which does not have them. The accelerator reserves the cores, and proves that the program ran there.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

from pytest_accel.worker.accelerator import Arrays, Refused, Tensor
from pytest_accel.worker.accelerators.neuron.compiler import compiled_batch
from pytest_accel.worker.accelerators.neuron.failures import failure
from pytest_accel.worker.accelerators.neuron.graph import Compiled
from pytest_accel.worker.formats import torch_model
from pytest_accel.worker.formats.saved_graph import Operator
from pytest_accel.worker.hardware import versions
from pytest_accel.worker.vendor_errors import explained

PACKAGE = "torch-neuronx"
_MODEL, _FACTS = "model.pt", "facts.json"
#: _FORWARD finds the operator in the graph of a traced module in which an executable runs.
_FORWARD = re.compile(r"\bneuron::forward\w*")


def sdk() -> Any:
    """Import torch-neuronx. Raises `ImportError` where it is not installed, or only PyPI's placeholder is."""
    return importlib.import_module("torch_neuronx")


def sdk_versions() -> Dict[str, str]:
    """Return the versions under test, empty where torch-neuronx is not installed."""
    try:
        module = sdk()
    except ImportError:
        return {}
    import torch

    packages = versions.installed(PACKAGE, "neuronx-cc")
    return {
        "torch": str(torch.__version__),
        **packages,
        PACKAGE: str(getattr(module, "__version__", packages[PACKAGE])),
    }


def is_artefact(folder: str) -> bool:
    """Return whether `compile_program` has filled this folder."""
    return os.path.isfile(os.path.join(folder, _MODEL))


def compile_program(path: str, target: str, flags: List[str], options: Mapping[str, Any]) -> None:
    """Trace the program at ``path`` into the folder ``target``. Raises `Refused` with the compiler's words.

    ``flags`` are the compiler's, and name the target.
    """
    if not os.path.isfile(path):
        raise Refused(f"{path}: no such file")
    try:
        module = sdk()
    except ImportError as error:
        raise Refused(f"{PACKAGE} compiles PyTorch programs and cannot be imported: {error}") from error
    import torch

    program, batch = torch_model.ExportedProgram(path), compiled_batch(options)
    example = [torch.zeros(_sizes(tensor, batch), dtype=getattr(torch, tensor.dtype)) for tensor in program.inputs]
    with torch.inference_mode():
        seen = program.observe(example)
        facts = {
            "inputs": [vars(tensor) for tensor in _of_batch(program.inputs, batch, options)],
            "outputs": [vars(tensor) for tensor in program.outputs],
            "operators": {name: [kind, precision] for name, (_, kind, precision) in seen.items()},
            "flops": program.flops(example),
        }
    with tempfile.TemporaryDirectory() as folder:
        try:
            traced = module.trace(
                program.flat(), tuple(example), compiler_workdir=folder, compiler_args=list(flags), cpu_backend=True
            )
            if options["dynamic_batch"]:
                module.dynamic_batch(traced)
        except Exception as error:  # the SDK's own errors have no base class
            raise Refused(explained("Neuron cannot compile this model", error)) from error
        if not _FORWARD.search(str(traced.inlined_graph)):
            raise Refused("nothing was compiled, and all of it would run on the host: no reason was logged")
        torch.jit.save(traced, os.path.join(target, _MODEL))
    with open(os.path.join(target, _FACTS), "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=2, sort_keys=True)


@dataclass(frozen=True)
class Whole(Compiled):
    """A program that is compiled as a whole. ``counted`` is the floating-point operations for the compiled batch."""

    counted: Optional[float] = None

    def flops(self) -> Optional[float]:
        """Return the operations that PyTorch counted."""
        return self.counted


def compiled(folder: str) -> Whole:
    """Read from an artefact what was compiled. The module is not loaded, which would need the device."""
    facts = _facts(folder)
    operators = {name: Operator(*stored) for name, stored in facts["operators"].items()}
    return Whole(operators, {}, [None], counted=facts["flops"] or None)


def _facts(folder: str) -> Dict[str, Any]:
    with open(os.path.join(folder, _FACTS), encoding="utf-8") as file:
        facts: Dict[str, Any] = json.load(file)
    return facts


class Traced:
    """A traced module, ready to be called. Several ``copies`` share the items of a call."""

    def __init__(self, folder: str, copies: int, *, dynamic_batch: bool) -> None:
        module = sdk()
        import torch

        facts = _facts(folder)
        self.inputs, self.outputs = ([_tensor(stored) for stored in facts[side]] for side in ("inputs", "outputs"))
        self.compiled = compiled(folder)
        self.errors: Tuple[Type[Exception], ...] = (RuntimeError,)
        try:
            self._module = torch.jit.load(os.path.join(folder, _MODEL))
        except RuntimeError as error:
            raise failure(error, "torch-neuronx cannot load this model") from error
        if copies > 1:
            self._module = module.DataParallel(
                self._module, device_ids=list(range(copies)), set_dynamic_batching=dynamic_batch
            )

    def stage(self, inputs: Arrays) -> Any:
        """Return the inputs as PyTorch's tensors, in the order of the program."""
        import torch

        return [torch.tensor(inputs[tensor.name]) for tensor in self.inputs]

    def run(self, staged: Any) -> Arrays:
        """Make one call. Raises the runtime's errors as `RuntimeError`."""
        import torch
        from torch.utils import _pytree as pytree

        with torch.inference_mode():
            made = pytree.tree_leaves(self._module(*staged))
        return {
            output.name: tensor.to(getattr(torch, output.dtype)).numpy() for output, tensor in zip(self.outputs, made)
        }


def _sizes(tensor: Tensor, batch: int) -> List[int]:
    first, *others = tensor.shape or (None,)
    if first not in (None, batch):
        raise Refused(
            f"input {tensor.name!r} was exported for batches of {first}: ask for batch_size={first}, or export the "
            "module with a dynamic batch"
        )
    if any(size is None for size in others):
        raise Refused(f"input {tensor.name!r} is {list(tensor.shape)}: only its batch may be dynamic; export it anew")
    return [batch, *(int(size or 0) for size in others)]


def _of_batch(tensors: List[Tensor], batch: int, options: Mapping[str, Any]) -> List[Tensor]:
    """Return the inputs with the compiled batch. The batch is free where the runtime cuts a call."""
    first = None if options["dynamic_batch"] else batch
    return [Tensor(tensor.name, tensor.dtype, (first, *tensor.shape[1:])) for tensor in tensors]


def _tensor(stored: Mapping[str, Any]) -> Tensor:
    return Tensor(stored["name"], stored["dtype"], tuple(stored["shape"]))
