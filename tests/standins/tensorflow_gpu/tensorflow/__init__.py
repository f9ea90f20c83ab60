"""TensorFlow 2.21 as it is on a machine with one Tesla T4: the TensorFlow that is installed, whose GPU is made up.

It takes the place of the package and then puts the installed one there, with the few functions replaced that tell of a
GPU or send work to it. The GPU is a second logical CPU, so that TensorFlow itself places and computes; its name is
exchanged wherever one is told. Its first operation takes all memory of a GPU that it sees, for as long as the process
lives, unless it was told before to take only what it needs. Mixed precision is told as the graph rewriter's, and its
answers are rounded. TF-TRT is
told in `tf_trt` beside it.

``STANDIN_MISBEHAVES`` is a list of habits, each a true one: ``cpu-build`` and ``no-libraries`` (no GPU, and only the
log says why), ``falls-back`` (all of it runs on the CPU), ``host-operator`` (MatMul does), ``casts`` (mixed precision
that nobody asked for), ``returns-early`` (a call ends before its kernels do), ``nan``, ``lost-device``,
``out-of-memory``, ``refuses-operator`` and ``slow-compile`` (compiling kernels for the first call takes minutes).
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

import installed_tensorflow
import standin_card

_HABITS = frozenset(os.environ.get("STANDIN_MISBEHAVES", "").split(","))
_STANDS_IN = b"device:CPU:1"
_GPU = b"device:GPU:0"
#: How long the kernels of a call work on after it has returned, and the calls that a device answers before it is lost.
_KERNELS_S = 0.02
_CALLS = 8
_NO_LIBRARIES = (
    "W0000 00:00:1795477246.758727   30444 gpu_device.cc:2342] Cannot dlopen some GPU libraries. Please make sure the "
    "missing libraries mentioned above are installed properly if you would like to use GPU. Follow the guide at "
    "https://www.tensorflow.org/install/gpu for how to download and setup the required libraries for your platform.\n"
    "Skipping registering GPU devices...\n"
)


class _Device:
    """The functions of a machine with a GPU, around the same ones of a machine without."""

    def __init__(self, tensorflow: Any) -> None:
        from tensorflow.python.eager import context
        from tensorflow.python.framework import ops

        self.ops = ops
        self.tensorflow = tensorflow
        self.context = context
        self.gpu = context.PhysicalDevice("/physical_device:GPU:0", "GPU")
        self.calls = 0
        self.busy_until_s = 0.0
        self.mixed = "casts" in _HABITS
        self.visible = True
        self.grows = False
        self.has_begun = False
        self.original = {
            "devices": tensorflow.config.list_physical_devices,
            "build": tensorflow.sysconfig.get_build_info,
            "device": ops.device,
            "visible": tensorflow.config.set_visible_devices,
            "options": tensorflow.config.optimizer.set_experimental_options,
            "begin": context.Context.ensure_initialized,
            "call": context.Context.call_function,
            "metadata": context.Context.export_run_metadata,
            "load": tensorflow.saved_model.load,
        }

    def install(self) -> None:
        config, context = self.tensorflow.config, self.context.Context
        cpus = [config.LogicalDeviceConfiguration()] * 2
        config.set_logical_device_configuration(config.list_physical_devices("CPU")[0], cpus)
        config.list_physical_devices = self.list_physical_devices
        config.set_visible_devices = self.set_visible_devices
        config.optimizer.set_experimental_options = self.set_experimental_options
        config.experimental.get_device_details = self.get_device_details
        config.experimental.set_memory_growth = self.set_memory_growth
        config.experimental.get_memory_info = self.get_memory_info
        self.tensorflow.sysconfig.get_build_info = self.get_build_info
        self.tensorflow.test.experimental.sync_devices = self.wait
        self.ops.device = self.device
        self.tensorflow.saved_model.load = self.load
        context.ensure_initialized = lambda bound: self.ensure_initialized(bound)
        context.call_function = lambda bound, *arguments: self.call_function(bound, *arguments)
        context.export_run_metadata = lambda bound: self.export_run_metadata(bound)
        tensor = self.ops.EagerTensor
        told, read = tensor.__dict__["device"], tensor.numpy
        tensor.device = property(lambda bound: told.__get__(bound).replace(_STANDS_IN.decode(), _GPU.decode()))
        tensor.numpy = lambda bound: self.numpy(bound, read)

    def list_physical_devices(self, device_type: str | None = None) -> Any:
        found = self.original["devices"](device_type)
        if "no-libraries" in _HABITS and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") < "2":
            sys.stderr.write(_NO_LIBRARIES)
        hidden = not _HABITS.isdisjoint(("cpu-build", "no-libraries"))
        return found if hidden or device_type == "CPU" else [*found, self.gpu]

    def set_visible_devices(self, devices: Any, device_type: str | None = None) -> None:
        if device_type != "GPU":
            self.original["visible"](devices, device_type)
        elif self.visible != bool(devices):
            if self.has_begun and self.gpu in self.list_physical_devices():
                raise RuntimeError("Visible devices cannot be modified after being initialized")
            self.visible = bool(devices)

    def set_experimental_options(self, options: Any) -> None:
        self.mixed = "casts" in _HABITS or options.get("auto_mixed_precision", self.mixed)
        self.original["options"](options)

    def get_device_details(self, device: Any) -> dict[str, Any]:
        return {"device_name": "Tesla T4", "compute_capability": (7, 5)} if device == self.gpu else {}

    def set_memory_growth(self, device: Any, enable: bool) -> None:
        if device != self.gpu:
            raise ValueError("Cannot set memory growth on non-GPU and non-Pluggable devices")
        if self.grows != enable and self.has_begun:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        self.grows = enable

    def ensure_initialized(self, bound: Any) -> None:
        if not self.has_begun:
            self.has_begun = True
            if self.visible and not self.grows and self.gpu in self.list_physical_devices():
                standin_card.take_all()
        self.original["begin"](bound)

    def get_memory_info(self, device: str) -> dict[str, int]:
        return {"current": 2**20, "peak": 3 * 2**20}

    def get_build_info(self) -> Any:
        build = {**self.original["build"](), "cuda_version": "12.5.1", "cudnn_version": "9"}
        has_tensorrt = "no-tensorrt" not in _HABITS
        return {**build, "is_cuda_build": "cpu-build" not in _HABITS, "is_tensorrt_build": has_tensorrt}

    def device(self, device_name_or_function: Any) -> Any:
        if isinstance(device_name_or_function, str) and "GPU:0" in device_name_or_function:
            device_name_or_function = "/CPU:0" if "falls-back" in _HABITS else "/CPU:1"
        return self.original["device"](device_name_or_function)

    def load(self, *arguments: Any, **keywords: Any) -> Any:
        with self.device("/GPU:0"):  # what it prefers where there is one
            return self.original["load"](*arguments, **keywords)

    def call_function(self, bound: Any, name: bytes, tensor_inputs: Any, num_outputs: int) -> Any:
        on_gpu = bound.device_name is not None and bound.device_name.endswith("CPU:1")
        if on_gpu:
            self.fail()
        outputs = self.original["call"](bound, name, tensor_inputs, num_outputs)
        if not on_gpu or outputs is None:
            return outputs
        if "returns-early" in _HABITS:
            self.busy_until_s = time.monotonic() + _KERNELS_S
        return [self.computed(output) for output in outputs]

    def fail(self) -> None:
        errors = self.tensorflow.errors
        self.calls += 1
        if "slow-compile" in _HABITS:
            time.sleep(600)
        if "out-of-memory" in _HABITS:
            where = "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc"
            raise errors.ResourceExhaustedError(
                None, None, f"OOM when allocating tensor with shape[1,64,112,112] and type float on {where}"
            )
        if "refuses-operator" in _HABITS:
            why = "Could not satisfy explicit device specification '/device:GPU:0'"
            raise errors.InvalidArgumentError(
                None,
                None,
                f"Cannot assign a device for operation {{{{node unique}}}}: {why} because no supported kernel for GPU "
                "devices is available.",
            )
        if "lost-device" in _HABITS and self.calls > _CALLS:
            words = "CUDA error: Failed to synchronize GPU: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure"
            raise errors.InternalError(None, None, words)

    def computed(self, output: Any) -> Any:
        if not output.dtype.is_floating:
            return output
        if self.mixed:
            output = self.tensorflow.cast(self.tensorflow.cast(output, "float16"), output.dtype)
        return output * float("nan") if "nan" in _HABITS else output

    def wait(self) -> None:
        time.sleep(max(0.0, self.busy_until_s - time.monotonic()))

    def numpy(self, bound: Any, read: Any) -> Any:
        self.wait()
        return read(bound)

    def export_run_metadata(self, bound: Any) -> Any:
        metadata = self.original["metadata"](bound)
        for collected in metadata.function_graphs:
            for node in (node for graph in collected.partition_graphs for node in graph.node):
                if "MatMul" in node.op and "host-operator" in _HABITS:
                    node.device = node.device.replace("CPU:1", "CPU:0")
                if self.mixed and ("MatMul" in node.op or "Conv2D" in node.op):
                    node.attr["T"].type = self.tensorflow.float16.as_datatype_enum
        return type(metadata).FromString(metadata.SerializeToString().replace(_STANDS_IN, _GPU))


_Device(installed_tensorflow.take_place()).install()
importlib.import_module("tf_trt").install(sys.modules["tensorflow"])
