"""What TensorRT's engine inspector says: which layer of an engine computes in which precision.

The inspector's JSON has changed: up to TensorRT 10 a tensor has "Format/Datatype" in words, and from 11 on "DataType".
An engine that was built without details has only names of layers. A precision that cannot be read is "unknown" in the
placement. No layer of an engine can leave the GPU.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterator, Mapping, Optional, Tuple

from pytest_accel.worker.accelerator import Observed, share_on

#: UNKNOWN is the precision of a layer that is not told.
UNKNOWN = "unknown"
#: _OF_KERNELS finds the precision of a layer in its kernel's name:
#: ``sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_...``. The first pattern that is found counts, because a name
#: also has the types that go in, accumulate and come out.
_OF_KERNELS = (
    ("fp8", re.compile(r"e4m3|e5m2|fp8|qmma")),
    ("int8", re.compile(r"i8i8|int8|imma|_i8816|_i16832")),
    ("tf32", re.compile(r"tf32")),
    ("bfloat16", re.compile(r"bf16")),
    ("float16", re.compile(r"f16f16|fp16|h884|h1688|h16816|hgemm|hmma")),
    ("float32", re.compile(r"f32f32|fp32|sgemm|scudnn|ffma")),
)
#: _OF_TENSORS finds the precision in the words for a tensor's type. Integers other than INT8 hold shapes and indices.
_OF_TENSORS = (
    ("fp8", re.compile(r"\bFP8\b|\bFloat8", re.IGNORECASE)),
    ("int8", re.compile(r"\bU?Int8\b", re.IGNORECASE)),
    ("bfloat16", re.compile(r"\bBF16\b|\bBFloat16\b", re.IGNORECASE)),
    ("float16", re.compile(r"\bFP16\b|\bHalf\b|\bFloat16\b", re.IGNORECASE)),
    ("float32", re.compile(r"\bFP32\b|\bFloat\b|\bFloat32\b", re.IGNORECASE)),
    ("", re.compile(r"\bInt(32|64)\b|\bBool(ean)?\b", re.IGNORECASE)),
)
#: _BOOKKEEPING names the layers that feed, move or convert values and compute none.
_BOOKKEEPING = frozenset(
    {
        "Reformat",
        "NoOp",
        "Shuffle",
        "Constant",
        "Cast",
        "Identity",
        "Quantize",
        "Dequantize",
        "Concatenation",
        "Slice",
        "Gather",
        "Shape",
        "ShapeHostToDevice",
        "signal",
        "wait",
    }
)


def observed(information: str) -> Observed:
    """Read the placement from an engine's information in JSON."""
    operators = {name: f"gpu:{precision}" for name, precision in _computing(json.loads(information))}
    return Observed.of(operators, share_on("gpu", operators))


def _computing(information: Mapping[str, Any]) -> Iterator[Tuple[str, str]]:
    """Yield name and precision of the layers that compute with numbers."""
    for layer in information.get("Layers", ()):
        if isinstance(layer, str):
            yield layer, UNKNOWN
        elif layer.get("LayerType") not in _BOOKKEEPING:
            precision = _precision(layer)
            if precision:
                yield str(layer.get("Name", UNKNOWN)), precision


def _precision(layer: Mapping[str, Any]) -> str:
    """Return what a layer computes in, empty where it has no precision to lose, as with indices."""
    found = _first(_OF_KERNELS, str(layer.get("TacticName", "")))
    if found is not None:
        return found
    for tensor in (*layer.get("Outputs", ()), *layer.get("Inputs", ())):
        words = str(tensor.get("DataType") or tensor.get("Format/Datatype") or "")  # from 11 on, or before
        found = precision_of_type(words)
        if found is not None:
            return found
    return UNKNOWN


def precision_of_type(words: str) -> Optional[str]:
    """Return the precision that the words for a tensor's type name: empty for one of integers, None for no type."""
    return _first(_OF_TENSORS, words)


def _first(patterns: Tuple[Tuple[str, "re.Pattern[str]"], ...], words: str) -> Optional[str]:
    return next((precision for precision, pattern in patterns if pattern.search(words)), None)
