"""From an ONNX model to a plan: builder, network, parser, configuration, calibrator."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import onnx
import standin_card
from cuda import _runtime as cuda

from tensorrt import _model
from tensorrt._names import (
    FLAVOUR,
    HABITS,
    BuilderFlag,
    DataType,
    ErrorCode,
    HardwareCompatibilityLevel,
    ILogger,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    PreviewFeature,
    ProfilingVerbosity,
    TilingOptimizationLevel,
    __version__,
    own_part_of,
)

#: Less than this and no convolution has a kernel.
LEAST_WORKSPACE = 2 * 2**20
_NO_EXPLICIT_BATCH = (
    "This version of the ONNX parser only supports TensorRT INetworkDefinitions with an explicit batch dimension. "
    "Please ensure the network was created using the EXPLICIT_BATCH NetworkDefinitionCreationFlag."
)


class IHostMemory(bytes):
    """Memory that TensorRT allocated."""

    @property
    def nbytes(self) -> int:
        return len(self)


class ITensor:
    """A tensor of a network."""

    def __init__(self, model: Any, name: str) -> None:
        self.name = name
        self.dtype = DataType[_model.TYPES[_model.on_device(_model.dtypes(model)[name]).name]]


class INetworkDefinition:
    """A network, which only a parser fills here."""

    def __init__(self, explicit_batch: bool) -> None:
        self._explicit_batch = explicit_batch
        self._model: Any = None

    @property
    def num_inputs(self) -> int:
        return len(_model.input_shapes(self._model))

    def get_input(self, index: int) -> ITensor:
        return ITensor(self._model, list(_model.input_shapes(self._model))[index])


class ParserError:
    """What the parser has against a node."""

    def __init__(self, code: Any, desc: str, node: int = -1) -> None:
        self._code, self._desc, self._node = code, desc, node

    def code(self) -> Any:
        return self._code

    def desc(self) -> str:
        return self._desc

    def node(self) -> int:
        return self._node


class OnnxParser:
    """Fills a network from an ONNX model."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        own_part_of(logger, "ILogger")
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        if any(tensor.external_data for tensor in onnx.load_from_string(bytes(model)).graph.initializer):
            self._errors = [ParserError(ErrorCode.INVALID_GRAPH, "Failed to open file: the weights have no path")]
            return False
        return self._parse(onnx.load_from_string(bytes(model)))

    def parse_from_file(self, model: str) -> bool:
        return self._parse(onnx.load(model))

    def _parse(self, read: Any) -> bool:
        if not self._network._explicit_batch:
            self._errors = [ParserError(ErrorCode.INVALID_GRAPH, _NO_EXPLICIT_BATCH)]
            return False
        unknown = [at for at, node in enumerate(read.graph.node) if not self._knows(node)]
        desc = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
        code = ErrorCode.INVALID_NODE if FLAVOUR == "11" else ErrorCode.UNSUPPORTED_NODE
        self._errors = [ParserError(code, desc, at) for at in unknown]
        if not self._errors:
            try:
                _model.session(read)
            except Exception as error:  # ONNX Runtime's errors have no base class of their own
                self._errors = [ParserError(ErrorCode.INVALID_GRAPH, str(error))]
        self._network._model = read
        return not self._errors

    def _knows(self, node: Any) -> bool:
        refused = "refuses-operator" in HABITS and node.op_type == "Relu"
        return onnx.defs.has(node.op_type, node.domain) and not refused


class IOptimizationProfile:
    """The shapes that an engine is made for."""

    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:  # noqa: A002
        self._shapes[input] = [list(shape) for shape in (min, opt, max)]


class ITimingCache:
    """Times of kernels, bound to a release and a device."""

    def __init__(self, stored: bytes) -> None:
        self._content = json.loads(stored) if stored else {"version": __version__, "kernels": {}}

    def serialize(self) -> IHostMemory:
        return IHostMemory(json.dumps(self._content).encode())


class IBuilderConfig:
    """How to build."""

    profiling_verbosity: Any
    builder_optimization_level: int
    avg_timing_iterations: int
    max_aux_streams: int
    hardware_compatibility_level: Any
    if FLAVOUR != "11":
        int8_calibrator: Any = None
    if FLAVOUR != "8.6":
        progress_monitor: Any = None
        max_num_tactics: int
        l2_limit_for_tiling: int
        tiling_optimization_level: Any

    def __init__(self, logger: ILogger) -> None:
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self._logger = logger
        self._flags = {BuilderFlag.TF32}  # set from the start
        self._workspace = cuda.MEMORY
        self._profiles: list[IOptimizationProfile] = []
        self._timing_cache = ITimingCache(b"")
        self._previews = {feature for feature in PreviewFeature if FLAVOUR == "10" and "SHARING" in feature.name}
        self.builder_optimization_level, self.avg_timing_iterations, self.max_aux_streams = 3, 1, -1
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        if FLAVOUR != "8.6":
            self.max_num_tactics, self.l2_limit_for_tiling = -1, -1
            self.tiling_optimization_level = TilingOptimizationLevel.NONE

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        (self._previews.add if enable else self._previews.discard)(feature)

    def get_preview_feature(self, feature: Any) -> bool:
        return feature in self._previews

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE
        self._workspace = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._content["version"] != __version__ and not ignore_mismatch:
            self._logger.log(ILogger.ERROR, "setTimingCache: Error Code 3: API Usage Error (timing cache mismatch)")
            return False
        self._timing_cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self._timing_cache

    if FLAVOUR != "11":

        def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
            self._calibration_profile = profile
            return True


if FLAVOUR != "11":

    class IInt8EntropyCalibrator2:
        """The base of an application's calibrator."""

        def __init__(self) -> None:
            self._made = True

        def get_batch_size(self) -> int:
            raise RuntimeError('Tried to call pure virtual function "IInt8EntropyCalibrator2::get_batch_size"')

        def get_batch(self, names: list[str]) -> list[int] | None:
            raise RuntimeError('Tried to call pure virtual function "IInt8EntropyCalibrator2::get_batch"')

        def read_calibration_cache(self) -> bytes | None:
            raise RuntimeError('Tried to call pure virtual function "IInt8EntropyCalibrator2::read_calibration_cache"')

        def write_calibration_cache(self, cache: bytes) -> None:
            raise RuntimeError('Tried to call pure virtual function "IInt8EntropyCalibrator2::write_calibration_cache"')


if FLAVOUR != "8.6":

    class IProgressMonitor:
        """The base of what an application has told how far a build is."""

        def __init__(self) -> None:
            self._made = True

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phase_start"')

        def step_complete(self, phase_name: str, step: int) -> bool:
            raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::step_complete"')

        def phase_finish(self, phase_name: str) -> None:
            raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phase_finish"')


class Builder:
    """Builds engines. Where there is no device there is no builder either."""

    def __init__(self, logger: ILogger) -> None:
        own_part_of(logger, "ILogger")
        self._logger = logger
        if "no-builder" in HABITS:
            logger.log(ILogger.WARNING, "Unable to determine GPU memory usage")
            logger.log(ILogger.ERROR, "CUDA initialization failure with error: 35. Please check your CUDA installation")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        if FLAVOUR != "8.6":  # there is no other any more
            return INetworkDefinition(explicit_batch=True)
        return INetworkDefinition(bool(flags & 1 << int(NetworkDefinitionCreationFlag.EXPLICIT_BATCH)))

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        if "slow-compile" in HABITS:
            time.sleep(3600)
        if problem := _problem(network, config):
            self._logger.log(ILogger.ERROR, problem)
            return None
        asked = {flag.name for flag in config._flags}
        model = network._model
        if "INT8" in asked and config.int8_calibrator is not None:
            model = _model.quantised(model, _calibrated_on(model, config))
        elif "FP16" in asked:
            model = _model.halved(model)
        layers = _model.layers(model, tf32="TF32" in asked, asked=asked)
        if FLAVOUR != "8.6" and config.progress_monitor is not None:
            _tell(config.progress_monitor, len(layers))
        config._timing_cache._content["kernels"].update(dict.fromkeys((layer["Name"] for layer in layers), 1.0))
        header = {
            "version": __version__,
            "profiles": [profile._shapes for profile in config._profiles],
            "shares_profiles": FLAVOUR != "8.6" or any("SHARING" in feature.name for feature in config._previews),
            "built_with": _built_with(config),
            "layers": layers if config.profiling_verbosity is ProfilingVerbosity.DETAILED else _names(layers),
        }
        return IHostMemory(json.dumps(header).encode() + b"\n" + model.SerializeToString())


def _built_with(config: IBuilderConfig) -> dict[str, Any]:
    """What is known of how an engine was built."""
    flags = sorted(flag.name for flag in config._flags)
    numbers = {name: value for name, value in vars(config).items() if isinstance(value, int) and name[0] != "_"}
    return {"flags": flags, **numbers, "hardware_compatibility_level": config.hardware_compatibility_level.name}


def _tell(monitor: Any, layers: int) -> None:
    """A phase with a step for each layer, and one inside it. The last step of the outer phase is not told."""
    own_part_of(monitor, "IProgressMonitor")
    monitor.phase_start("Building Engine", None, layers + 1)
    for layer in range(layers):
        monitor.phase_start("Timing graph nodes", "Building Engine", 1)
        assert monitor.step_complete("Timing graph nodes", 0)
        monitor.phase_finish("Timing graph nodes")
        assert monitor.step_complete("Building Engine", layer)
    monitor.phase_finish("Building Engine")


def _problem(network: INetworkDefinition, config: IBuilderConfig) -> str:
    """Why this cannot be built, empty when it can."""
    if "out-of-memory" in HABITS or standin_card.is_taken():
        return "[virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (no further information)"
    if any(-1 in shape for shape in _model.input_shapes(network._model).values()) and not config._profiles:
        return "Network has dynamic or shape inputs, but no optimization profile has been defined."
    convolutions = [node.name for node in network._model.graph.node if node.op_type == "Conv"]
    if convolutions and config._workspace < LEAST_WORKSPACE:
        return (
            "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for "
            f"node {{ForeignNode[{convolutions[0]}]}}.)"
        )
    if any(flag.name == "INT8" for flag in config._flags) and config.int8_calibrator is None:
        return "Calibrator is not being used, and the network has no dynamic ranges."
    return ""


def _calibrated_on(model: Any, config: IBuilderConfig) -> list[dict[str, Any]]:
    """The batches that the calibrator uploads."""
    calibrator = config.int8_calibrator
    own_part_of(calibrator, "IInt8EntropyCalibrator2")
    assert calibrator.get_batch_size() > 0
    shapes = _model.input_shapes(model)
    if any(-1 in shape for shape in shapes.values()):
        shapes = {name: opt for name, (_, opt, _) in config._calibration_profile._shapes.items()}
    assert calibrator.read_calibration_cache() is None
    batches = []
    while (addresses := calibrator.get_batch(list(shapes))) is not None:
        memory = [cuda.board.memory[address] for address in addresses]
        batches.append(_model.arrays_of(model, shapes, memory))
    calibrator.write_calibration_cache(b"TRT-EntropyCalibration2")
    return batches


def _names(layers: list[dict[str, Any]]) -> list[str]:
    return [layer["Name"] for layer in layers]
