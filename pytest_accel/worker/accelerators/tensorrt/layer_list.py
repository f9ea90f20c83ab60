"""The layers of a finished engine, as the builder of TensorRT for RTX lists them in its log. It takes no GPU to read.

A line has a layer: its name, its kind, the types of what goes in and comes out, and the ONNX nodes that it is made of.
Kernels have no names before they are compiled on the GPU, so TF32 cannot be told from FP32.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Optional, Tuple

from pytest_accel.worker.accelerators.tensorrt.inspector import UNKNOWN, precision_of_type

_LAYER = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>\[.*?\])(?:, Constants: \[.*?\])?, "
    r"Outputs: (?P<outputs>\[.*?\]), TacticName: .*?, StreamId: \d+, Metadata: (?P<nodes>.*)$",
    re.MULTILINE,
)
_TYPE = re.compile(r"Datatype: (\w+)")
#: _NODE finds the ONNX nodes of a layer, which control characters separate. Those of Q/DQ stand around others.
_NODE = re.compile(r"\[ONNX Layer: ([^\x1e\x1f]*)\]")
_QUANTISES = re.compile(r"_(?:Q|Deq)uantizeLinear(?:_Input)?$")
#: _GENERATED is the kind of a layer whose kernel is generated. Its name has what it does, in syllables.
_GENERATED = "kgen"
_NUMBER = re.compile(r"_myl\d+_\d+$")
#: _MOVES finds a generated layer that only moves or converts values.
_MOVES = re.compile(r"^__myl_(?:Cast|Conc|Copy|Gath|Move|Resh|Slic|Tran)+$")
#: _FINEST has precisions from the finest to the coarsest.
_FINEST = ("float32", "float16", "bfloat16", "fp8", "int8")


def operators(layers: str, *, tf32: bool) -> Dict[str, str]:
    """Return the places of the layers that compute with numbers, by the names of their nodes.

    Where ``tf32`` is allowed, the precision of a layer in FP32 is not known.
    """
    found: Dict[str, str] = {}
    for name, precision in _computing(layers):
        number = sum(known == name or known.startswith(f"{name} #") for known in found)
        unknown = precision is None or (tf32 and precision == "float32")
        found[name if not number else f"{name} #{number + 1}"] = f"gpu:{UNKNOWN if unknown else precision}"
    return found


def _computing(layers: str) -> Iterator[Tuple[str, Optional[str]]]:
    """Yield name and precision of layers, but for those that only move values or compute with indices."""
    for layer in _LAYER.finditer(layers):
        name, generated = _NUMBER.sub("", layer["name"]), layer["kind"] == _GENERATED
        goes_in, comes_out = _precisions(layer["inputs"]), _precisions(layer["outputs"])
        if (generated and _MOVES.match(name)) or not (goes_in or comes_out):
            continue
        yield _named(name, layer["nodes"], generated), _precision(goes_in, comes_out, generated)


def _precisions(tensors: str) -> List[str]:
    """Return the precisions of tensors. Integers other than INT8 hold shapes and indices, and have none."""
    return [precision for word in _TYPE.findall(tensors) if (precision := precision_of_type(word))]


def _precision(goes_in: List[str], comes_out: List[str], generated: bool) -> Optional[str]:
    """Return what a layer computes in, None where that is not known.

    A product is computed in the coarsest of what goes in, and given in a finer one. What is generated computes in the
    finest type that it has, and rounds at its ends.
    """
    considered = {*goes_in, *comes_out} if generated else {*(goes_in or comes_out)}
    known = [precision for precision in _FINEST if precision in considered]
    return known[0 if generated else -1] if known else None


def _named(name: str, nodes: str, generated: bool) -> str:
    """Return a name that stays when layers are added elsewhere; a number of its place would not.

    The nodes are sorted, because the compiler lists them in another order from build to build.
    """
    found = sorted(set(_NODE.findall(nodes)))
    names = " + ".join(node for node in found if not _QUANTISES.search(node)) or " + ".join(found)
    if not names:
        return name
    return f"{names} ({name.replace('__myl_', '')})" if generated else names
