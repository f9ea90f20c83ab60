"""From an ONNX model to an engine, with the builder of TensorRT 8.6, 10 or 11, or of TensorRT for RTX.

What the module has shows which release it is. Up to 10 the builder chooses the precision of a layer among those that
the flags allow, and learns the ranges of INT8 from a calibrator. In 11 and for RTX there are neither: a layer computes
in the types that the model has, so `pytest_accel.worker.formats.written_precision` writes them into the model before.
TF32 is a flag in all releases, and set unless it is cleared. TensorRT calls
`pytest_accel.worker.accelerators.tensorrt.callbacks` while it builds.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence

from pytest_accel.worker.accelerator import Arrays, Progress, Refused
from pytest_accel.worker.accelerators.tensorrt import builder_options, kept_files
from pytest_accel.worker.accelerators.tensorrt.callbacks import calibrator, monitor
from pytest_accel.worker.accelerators.tensorrt.element_types import as_taken
from pytest_accel.worker.accelerators.tensorrt.log import done
from pytest_accel.worker.formats import graph_precisions, onnx_file, written_precision
from pytest_accel.worker.formats.quantise import CALIBRATED, check_inputs
from pytest_accel.worker.hardware.cuda import Cuda
from pytest_accel.worker.vendor_errors import explained

PRECISIONS = ("fp32", "tf32", "fp16", "int8")
#: _FLAGS has the flags that allow the builder to choose a precision.
_FLAGS = {"fp16": "FP16", "int8": "INT8"}
#: _NO_CHOICE says why layers have no other precision beside INT8 where the model says what each computes in.
_NO_CHOICE = (
    "beside_int8='fp16': TensorRT {} computes in the types that the model has, and chooses none: leave it out, or pass "
    "a model in Q/DQ form that is in FP16 beside it"
)


@dataclass(frozen=True)
class Batches:
    """The batch sizes that an engine takes, and the one it is tuned for."""

    smallest: int
    best: int
    largest: int

    @classmethod
    def parse(cls, text: str) -> Batches:
        """Read a text such as ``"1:8:32"``. Raises `ValueError` for a text of another form."""
        found = re.fullmatch(r"([1-9]\d*):(\d+):(\d+)", text)
        sizes = [int(size) for size in found.groups()] if found is not None else []
        if not sizes or sizes != sorted(sizes):
            raise ValueError(f"profile={text!r} is not of the form smallest:best:largest, such as '1:8:32'")
        return cls(*sizes)


@dataclass(frozen=True)
class Recipe:
    """How to build. ``batches`` is None for a model of fixed shape. Builds share ``timing_cache``, a file.

    ``beside_int8`` is what layers may compute in beside INT8, and ``extra`` has the builder's own options. ``target``
    is the compute capability to build for, such as "sm89", which TensorRT for RTX wants to know. A model that is below
    FP32, when its precision has been written into it, is kept in the file ``written_model``.
    """

    precision: str
    batches: Optional[Batches] = None
    workspace_mb: Optional[int] = None
    timing_cache: str = ""
    beside_int8: str = "fp32"
    extra: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    written_model: str = ""


def build(model: Any, recipe: Recipe, calibration: Sequence[Arrays], progress: Progress, logger: Any) -> bytes:
    """Return the serialised engine of an ONNX model. Raises `Refused` with the words of the parser or the logger."""
    with tempfile.TemporaryDirectory() as scratch:
        return _built(model, recipe, calibration, progress, logger=logger, scratch=scratch)


def _built(
    model: Any, recipe: Recipe, calibration: Sequence[Arrays], progress: Progress, *, logger: Any, scratch: str
) -> bytes:
    tensorrt = logger.tensorrt
    _require_known_sizes(_inputs(model), recipe.batches)
    if recipe.precision in CALIBRATED:
        check_inputs(set(_inputs(model)), calibration)
    if is_strongly_typed(tensorrt):
        if recipe.beside_int8 != "fp32":
            raise Refused(_NO_CHOICE.format(tensorrt.__version__))
        model = written_precision.write(model, recipe.precision, calibration, progress, scratch)
        calibration = ()
    if recipe.written_model and graph_precisions.is_below_fp32(model):
        os.makedirs(os.path.dirname(recipe.written_model), exist_ok=True)
        onnx_file.write(model, recipe.written_model)
    logger.forget()
    builder = tensorrt.Builder(logger)
    network = _parsed(builder, model, logger, scratch)
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED  # or the inspector names no precisions
    _set_precision(config, recipe, tensorrt)
    _share_profiles(config, tensorrt)
    builder_options.apply(config, recipe.extra, tensorrt)
    if recipe.target:
        _set_target(config, recipe.target, logger)
    if recipe.workspace_mb is not None:
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, recipe.workspace_mb * 2**20)
    if recipe.batches is not None:
        config.add_optimization_profile(_profile(builder, model, recipe.batches))
    if recipe.precision == "int8" and calibration:
        config.int8_calibrator = calibrator(as_taken(network, calibration), progress, Cuda(), tensorrt)
        if recipe.batches is not None:
            size = len(next(iter(calibration[0].values())))
            profile = _profile(builder, model, Batches(size, size, size))
            done(config.set_calibration_profile(profile), "calibrate with batches of this size", logger)
    if recipe.timing_cache:
        _take_times(config, recipe.timing_cache, logger)
    progress(None, "building the engine")
    if hasattr(tensorrt, "IProgressMonitor"):  # TensorRT 8 reports no progress
        config.progress_monitor = monitor(progress, tensorrt)
    plan = done(builder.build_serialized_network(network, config), "build an engine for this model", logger)
    if recipe.timing_cache:
        kept_files.replace(recipe.timing_cache, config.get_timing_cache().serialize())
    return bytes(plan)


def is_strongly_typed(tensorrt: Any) -> bool:
    """Return whether layers compute in the types of the model, because the builder has no flags for others."""
    return not hasattr(tensorrt.BuilderFlag, "FP16")


def _parsed(builder: Any, model: Any, logger: Any, scratch: str) -> Any:
    tensorrt = logger.tensorrt
    flags = tensorrt.NetworkDefinitionCreationFlag
    # TensorRT 8 still has networks without a batch dimension, 10 ignores the flag, 11 does not know it.
    explicit = 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0
    network = builder.create_network(explicit)
    parser = tensorrt.OnnxParser(network, logger)
    if not _parse(parser, model, scratch):
        errors = [parser.get_error(number) for number in range(parser.num_errors)]
        words = "\n".join(_described(error, model) for error in errors) or "\n".join(logger.errors)
        raise Refused(explained("TensorRT cannot read this model", words))
    return network


def _parse(parser: Any, model: Any, scratch: str) -> bool:
    if not onnx_file.has_files(model):
        return bool(parser.parse(model.SerializeToString()))
    path = os.path.join(scratch, "large.onnx")
    onnx_file.write(model, path)
    return bool(parser.parse_from_file(path))


def _described(error: Any, model: Any) -> str:
    """Return a parser's error with the operator, of which TensorRT 8 gives only the number."""
    place = ""
    if 0 <= error.node() < len(model.graph.node):
        node = model.graph.node[error.node()]
        place = f" at node {error.node()} {node.name!r}, operator {node.op_type!r}"
    return f"{error.code().name}{place}: {error.desc()}"


def _set_precision(config: Any, recipe: Recipe, tensorrt: Any) -> None:
    if recipe.precision != "tf32":
        config.clear_flag(tensorrt.BuilderFlag.TF32)
    allowed = [name for name in (recipe.precision, recipe.beside_int8) if name in _FLAGS]
    for name in () if is_strongly_typed(tensorrt) else allowed:
        config.set_flag(getattr(tensorrt.BuilderFlag, _FLAGS[name]))


def _share_profiles(config: Any, tensorrt: Any) -> None:
    """Let several contexts use a profile at once. TensorRT 8.6 has to be told, later ones do so always."""
    feature = getattr(getattr(tensorrt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if feature is not None and not config.get_preview_feature(feature):
        config.set_preview_feature(feature, True)


def _set_target(config: Any, target: str, logger: Any) -> None:
    """Have the engine built for GPUs of one compute capability, of which none has to be here."""
    known = logger.tensorrt.ComputeCapability.__members__
    if target.upper() not in known:
        names = ", ".join(name.lower() for name in known if name.startswith("SM"))
        raise Refused(f"TensorRT for RTX {logger.tensorrt.__version__} builds for {names}, and not for {target}")
    config.num_compute_capabilities = 1
    done(config.set_compute_capability(known[target.upper()], 0), f"build for {target}", logger)


def _profile(builder: Any, model: Any, batches: Batches) -> Any:
    profile = builder.create_optimization_profile()
    for name, shape in _inputs(model).items():
        if shape[:1] == [None]:
            shapes = [(size, *shape[1:]) for size in (batches.smallest, batches.best, batches.largest)]
            profile.set_shape(name, *shapes)
    return profile


def _require_known_sizes(shapes: Mapping[str, Sequence[Optional[int]]], batches: Optional[Batches]) -> None:
    """Refuse dynamic sizes that no profile covers, and a profile for a model without a dynamic batch."""
    for name, shape in shapes.items():
        if None in shape[1:]:
            sizes = ", ".join("?" if size is None else str(size) for size in shape)
            raise Refused(
                f"input {name!r} has dynamic sizes beside its batch: [{sizes}]; export the model with fixed ones"
            )
    if batches is not None and not any(shape[:1] == [None] for shape in shapes.values()):
        raise Refused("profile= is for a dynamic batch, which the model does not have: export it with one")


def _inputs(model: Any) -> Dict[str, List[Optional[int]]]:
    """Return the shapes of the inputs by name, None where a size is dynamic."""
    weights = {tensor.name for tensor in model.graph.initializer}  # old exporters list them among the inputs
    return {
        value.name: [size.dim_value or None for size in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in weights
    }


def _take_times(config: Any, path: str, logger: Any) -> None:
    """Start from the times of kernels that earlier builds measured."""
    cache = config.create_timing_cache(kept_files.read(path))
    done(config.set_timing_cache(cache, ignore_mismatch=False), f"use the timing cache {path}: remove the file", logger)
