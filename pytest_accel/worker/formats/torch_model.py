"""PyTorch models as exported programs: exporting a module, reading a program, observing how it computes.

An exported program (``torch.export``) is one file with the graph, the weights and the shapes. It does not need the
Python code of the module. PyTorch is imported inside the functions and may be of any release from 2.6 on.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from pytest_accel.worker import wire
from pytest_accel.worker.accelerator import Arrays, Refused, Tensor
from pytest_accel.worker.formats import torch_outputs

#: _BOOKKEEPING names the operators that move, view or convert values and compute none.
_BOOKKEEPING = frozenset(
    {
        "_to_copy",
        "to",
        "clone",
        "copy_",
        "detach",
        "contiguous",
        "alias",
        "lift_fresh_copy",
        "view",
        "_unsafe_view",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "t",
        "expand",
        "squeeze",
        "unsqueeze",
        "slice",
        "select",
        "split",
        "chunk",
        "cat",
        "stack",
        "pad",
        "constant_pad_nd",
        "dropout",
    }
)
#: _IMPORTED_LATER are what PyTorch imports when it reads its first program, which takes as long as all else.
_IMPORTED_LATER = ("torch.export.pt2_archive._package", "torch._export.serde.serialize", "torch.export._trace")
#: NODE begins the mark of a node in a profile.
NODE = "pytest-accel node "
#: TENSOR_CORE_OPERATORS are the matrix products and convolutions that cuBLAS and cuDNN compute, and so in TF32 where
#: that is allowed.
TENSOR_CORE_OPERATORS = frozenset(
    {
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose2d",
        "convolution",
        "_convolution",
        "cudnn_convolution",
        "linear",
        "matmul",
        "mm",
        "bmm",
        "addmm",
        "baddbmm",
        "einsum",
        "scaled_dot_product_attention",
    }
)


def preload_torch() -> None:
    """Import PyTorch and what it reads programs with. No program is read and no device looked for.

    So a process can be forked afterwards. A release that lacks one of the modules imports what it has instead later.
    """
    import torch  # noqa: F401

    for name in _IMPORTED_LATER:
        with suppress(ImportError):
            importlib.import_module(name)


def export(module: Any, example: Any, path: str) -> None:
    """Write ``module`` as an exported program for inference. An exported program is written as it is.

    ``example`` is what the module takes: a tensor, a tuple of positional arguments or a dict of keyword arguments. The
    first dimension of the tensors stays free where the module allows it. The program returns a flat dict of tensors.
    """
    import torch
    from torch.utils import _pytree as pytree

    if isinstance(module, torch.export.ExportedProgram):
        torch.export.save(module, path)
        return
    args, kwargs = _arguments(example, module.forward)
    # PyTorch takes a size of one for a constant, so a batch of one is doubled.
    args, kwargs = pytree.tree_map_only(torch.Tensor, _at_least_two, (args, kwargs))
    free = pytree.tree_map(lambda leaf: {0: torch.export.Dim.AUTO} if _has_batch(leaf) else None, (args, kwargs))
    training = module.training
    module.eval()
    try:
        with warnings.catch_warnings(), torch_outputs.named_outputs(module):
            warnings.simplefilter("ignore")  # the exporter's own are nothing that a user could act on
            # Python runs the module, as in every release from 2.7 on: 2.6 would read its code by default.
            program = torch.export.export(module, args, kwargs, dynamic_shapes=free[1] or free[0], strict=False)
            torch.export.save(program, path)
    finally:
        module.train(training)


def described(example: Any) -> str:
    """Return the structure of an example, with the types and shapes of the tensors but not the values."""
    import torch
    from torch.utils import _pytree as pytree

    return str(pytree.tree_map_only(torch.Tensor, lambda tensor: (tensor.dtype, tuple(tensor.shape)), example))


def content(tensor: Any) -> bytes:
    """Return the bytes of a tensor of any type, also of a type that NumPy does not have."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


class ExportedProgram:
    """An exported program, ready to be called. Raises `Refused` when the file holds no program."""

    def __init__(self, path: str, device: str = "cpu") -> None:
        import torch

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch_outputs.stand_in_for_classes(path)
                program = torch.export.load(path)
        except Exception as error:  # a file that is none fails in many ways
            raise Refused(
                f"{path} is no exported program: make one with torch.export.save(torch.export.export(module, args), "
                f"path) ({type(error).__name__}: {error})"
            ) from error
        nodes = {node.name: node for node in program.graph.nodes}
        signature, self._spec = program.graph_signature, program.call_spec
        self.inputs = [_tensor(name, nodes[name]) for name in signature.user_inputs if name in nodes]
        names = torch_outputs.names_of(program.call_spec.out_spec, len(signature.user_outputs))
        given = [nodes.get(node) if isinstance(node, str) else None for node in signature.user_outputs]
        #: A number or None among the outputs is no tensor, and is left out.
        self._kept = [hasattr(node and node.meta.get("val"), "dtype") for node in given]
        self.outputs = [_widened(_tensor(name, node)) for name, node, kept in zip(names, given, self._kept) if kept]
        graphs = [part.graph for part in program.graph_module.modules() if hasattr(part, "graph")]  # of branches too
        values = (node.meta.get("val") for graph in graphs for node in graph.nodes)
        kinds = {value.dtype for value in values if isinstance(value, torch.Tensor) and value.is_floating_point()}
        #: The precisions of the values that are computed, by NumPy's names.
        self.precisions = sorted(str(kind)[6:] for kind in kinds)
        self._dtypes = [getattr(torch, output.dtype) for output in self.outputs]
        _move_constants(program, device)
        self.module = program.module().to(device)
        #: What a call runs: the module, or what PyTorch's compiler has made of it.
        self._run = self.module

    def compile(self, mode: str) -> None:
        """Let calls run what ``torch.compile`` makes of the program in this mode. The first one compiles."""
        import torch

        self._run = torch.compile(self.module, mode=mode, dynamic=False)

    def __call__(self, inputs: Sequence[Any]) -> Arrays:
        """Make one call and return the outputs as arrays of the host, in the types of the signature."""
        return self.arrays([tensor.cpu() for tensor in self.compute(inputs)])

    def compute(self, inputs: Sequence[Any]) -> List[Any]:
        """Make one call and return the outputs as tensors of the device, in the types of the signature."""
        made = self._tensors(self._called(self._run, inputs))
        return [tensor.to(dtype) for tensor, dtype in zip(made, self._dtypes)]

    def arrays(self, outputs: Sequence[Any]) -> Arrays:
        """Return the outputs of a call by name, which are tensors of the host, as arrays in the same memory."""
        return {output.name: tensor.numpy() for output, tensor in zip(self.outputs, outputs)}

    def flat(self) -> Any:
        """Return a module that takes positional tensors and returns a tuple of tensors, as a tracer needs it."""
        import torch

        called, module, tensors = self._called, self.module, self._tensors

        class Flat(torch.nn.Module):  # type: ignore[misc] # PyTorch is not known before it is imported
            def __init__(self) -> None:
                super().__init__()
                self.program = module

            def forward(self, *inputs: Any) -> Any:
                return tuple(tensors(called(self.program, inputs)))

        return Flat()

    def flops(self, inputs: Sequence[Any]) -> float:
        """Return the floating-point operations of one call that PyTorch counts; a multiply-add counts as two."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self._called(self.module, inputs)
        return float(counter.get_total_flops())

    def observe(self, inputs: Sequence[Any]) -> Dict[str, Tuple[str, str, str]]:
        """Return device type, operator and precision of the nodes of one call that compute with numbers, by name."""
        import torch

        seen: Dict[str, Tuple[str, str, str]] = {}

        class Interpreter(torch.fx.Interpreter):  # type: ignore[misc] # PyTorch is not known before it is imported
            def run_node(self, node: Any) -> Any:
                with _recorder(lambda *operator: seen.__setitem__(node.name, operator)):
                    return super().run_node(node)

        self._called(Interpreter(self.module).run, inputs, flat=True)
        return seen

    def marked(self, inputs: Sequence[Any]) -> None:
        """Make one call in which each node's time has a mark in PyTorch's profile: `NODE` and the node's name."""
        import torch

        class Interpreter(torch.fx.Interpreter):  # type: ignore[misc]
            def run_node(self, node: Any) -> Any:
                with torch.profiler.record_function(NODE + node.name):
                    return super().run_node(node)

        self._called(Interpreter(self.module).run, inputs, flat=True)

    def _tensors(self, returned: Any) -> Any:
        from torch.utils import _pytree as pytree

        return [leaf for leaf, kept in zip(pytree.tree_leaves(returned), self._kept) if kept]

    def _called(self, function: Callable[..., Any], inputs: Sequence[Any], flat: bool = False) -> Any:
        from torch.utils import _pytree as pytree

        if flat:
            return function(*inputs)
        args, kwargs = pytree.tree_unflatten(list(inputs), self._spec.in_spec)
        return function(*args, **kwargs)


def _move_constants(program: Any, device: str) -> None:
    """Let a program make its tensors on ``device``, and bring its constants there.

    An export writes the device of the exporting machine into every ``arange`` or ``zeros``. A module's ``to`` moves
    neither these nor constants, but parameters and buffers alone.
    """
    import torch
    from torch.utils import _pytree as pytree

    there = torch.device(device)
    for name, constant in program.constants.items():
        if isinstance(constant, torch.Tensor):
            program.constants[name] = constant.to(there)
    graphs = (module for module in program.graph_module.modules() if isinstance(module, torch.fx.GraphModule))
    for node in (node for graph in graphs for node in graph.graph.nodes):
        node.args, node.kwargs = pytree.tree_map_only(torch.device, lambda _: there, (node.args, node.kwargs))
        if getattr(node.target, "__name__", "") == "wrap_with_autocast":  # the module's own mixed precision
            node.args = (there.type, *node.args[1:])


def _recorder(record: Callable[[str, str, str], None]) -> Any:
    """Return a context that calls ``record`` for every computing operator: type of device, operator and precision."""
    import torch
    from torch.utils import _pytree as pytree
    from torch.utils._python_dispatch import TorchDispatchMode

    class Recorder(TorchDispatchMode):  # type: ignore[misc]
        supports_higher_order_operators = True  # such as a branch, of which the operators inside are not seen

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            taken = (leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor))
            precision = next((str(leaf.dtype)[6:] for leaf in taken if leaf.is_floating_point()), None)
            operator = getattr(func, "overloadpacket", func).__name__
            given = [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, torch.Tensor)]
            if precision is not None and given and operator not in _BOOKKEEPING:
                record(given[0].device.type, operator, precision)
            return made

    return Recorder()


def _arguments(example: Any, forward: Any) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
    """Return positional and keyword arguments, the latter in the function's order, in which PyTorch 2.6 counts them."""
    if isinstance(example, Mapping):
        order = list(inspect.signature(forward).parameters)
        known = [key for key in order if key in example]
        return (), {key: example[key] for key in (*known, *(key for key in example if key not in known))}
    return tuple(example) if isinstance(example, (tuple, list)) else (example,), {}


def _has_batch(leaf: Any) -> bool:
    return getattr(leaf, "ndim", 0) > 0


def _at_least_two(tensor: Any) -> Any:
    import torch

    return torch.cat([tensor, tensor]) if tensor.ndim and tensor.shape[0] == 1 else tensor


def _tensor(name: str, node: Any) -> Tensor:
    value = node.meta["val"]
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Tensor(name, str(value.dtype)[6:], shape)


def _widened(tensor: Tensor) -> Tensor:
    """Return an output as it leaves a worker: NumPy has no bfloat16, and in float32 every value of it is the same."""
    return tensor if wire.is_numeric(tensor.dtype) else Tensor(tensor.name, "float32", tensor.shape)
