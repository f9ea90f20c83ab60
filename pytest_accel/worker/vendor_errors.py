"""What the vendors' errors mean, and what to do about them.

One table for the converters, quantisers and runtimes behind the accelerators that compile from ONNX. The vendor's own
words always follow: advice can be wrong, and somebody will search the web for them.
"""

from __future__ import annotations

import re
from typing import Tuple, Union

_OUTSIDE = "replace it in the model, or leave this accelerator out"
_NO_OPERATOR = "there is no operator {operator!r}: " + _OUTSIDE
_NO_OPERATORS = "there is no operator for {operators}: " + _OUTSIDE
_WEIGHTS = "its weights are not in {path}: put that file beside the model, or save the model as one file"
_NO_TENSOR = "it reads a tensor {tensor!r} that nothing gives: export it anew"
_UNFIT_INPUTS = "{operator} {node!r} cannot compute with these inputs: check their sizes and values"
_ROW = "an index of {row} asks a table for a row that it does not have"
_DATA = "give it what the model's signature says"

#: ADVICE has rows of a pattern of an error's text, and advice in which ``{groups}`` of the pattern are filled in. The
#: first row whose pattern is found counts.
ADVICE: Tuple[Tuple[str, str], ...] = (
    # An operator that it does not know. ONNX Runtime has three ways to say so; OpenVINO 2026.4 and 2025.0 one each.
    (r"No Op registered for (?P<operator>\S+)", _NO_OPERATOR),
    (r"Fatal error: (?P<operator>\S+?)\(.*is not a registered function/op", _NO_OPERATOR),
    (
        r"Could not find an implementation for (?P<operator>\S+)",
        "there is no operator {operator!r} on this device for these types: " + _OUTSIDE,
    ),
    (r"No conversion rule found for operations: (?P<operators>[^\n]+)", _NO_OPERATORS),
    (r"does not support the following ONNX operations: (?P<operators>[^\n]+)", _NO_OPERATORS),
    # A file that it cannot read.
    (
        r"Unsupported model IR version: (?P<found>\d+), max supported IR version: (?P<most>\d+)",
        "the file has the ONNX format {found} and this release reads up to {most}: upgrade onnxruntime, or save the "
        "model with ir_version={most}",
    ),
    (
        r"Opset (?P<opset>\d+) is under development",
        "the model needs opset {opset}, which this release does not have: upgrade it, or export with a lower opset",
    ),
    (r"External data path does not exist: \"(?P<path>[^\"]+)\"", _WEIGHTS),
    (r"should be stored in (?P<path>.+?), but it", _WEIGHTS),
    (r"externally stored data in file \((?P<path>[^,]+),", _WEIGHTS),
    (r"File doesn't exist|Could not open the file", "the file is not there, or may not be read: check the path"),
    (
        r"Protobuf parsing failed|No graph was found in the protobuf|Unable to read the model|Error parsing message",
        "the file is damaged or holds no model: export it anew",
    ),
    # A graph that contradicts itself.
    (r"Node input '(?P<tensor>.+?)' is not a graph input", _NO_TENSOR),
    (r"Input tensor isn't found for node \"(?P<tensor>.+?)\"", _NO_TENSOR),
    (
        r"Type '(?P<type>.+?)' of input parameter \(.*?\) of operator \((?P<operator>.+?)\)",
        "operator {operator!r} does not take a {type}: cast its input in the model",
    ),
    (
        r"rank has to be known|get_partial_shape\(\)\.rank\(\)\.is_static\(\)",
        "it has to know how many dimensions each tensor has, and this model does not tell: export it anew without "
        "branches of different ranks, or leave this accelerator out",
    ),
    (
        r"ShapeInferenceError|While validating (?:ONNX )?node",
        "its shapes do not fit each other: ask for the batch_size that it was exported for, or export it with a "
        "dynamic batch",
    ),
    # A model of TensorFlow that cannot be converted.
    (
        r"incompatible with expected resource",
        "it assigns variables when it is called, which the converted model would not have: export a signature that "
        "does not, or leave this accelerator out",
    ),
    # Memory, and a GPU that fails. The operator that was running is named too, but is not to blame.
    (
        r"OOM when allocating tensor|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory",
        "the GPU's memory does not suffice: ask for a smaller batch_size, or end what else uses it",
    ),
    (
        r"CUDA_ERROR_(?:LAUNCH_FAILED|ILLEGAL_ADDRESS|UNKNOWN)|CUDA (?:error|failure \d+): (?:unspecified|an illegal)",
        "the GPU failed in the middle of its work: look for the driver's Xid message in dmesg, and reset the GPU",
    ),
    (
        r"bad_alloc|Failed to allocate memory|bad allocation",
        "memory does not suffice: ask for a smaller batch_size, or free some",
    ),
    # A call that it does not take.
    (r"Got invalid dimensions for input|Invalid rank for input", "an input has another shape: " + _DATA),
    (r"Can't set the input tensor with index", "an input has another shape: " + _DATA),
    (
        r"Unexpected input data type|Failed to set tensor for input with precision",
        "an input has another dtype: " + _DATA,
    ),
    (
        r"Required inputs .* are missing|Invalid input name|Port for tensor name .* was not found",
        "an input has another name: " + _DATA,
    ),
    # A provider that ONNX Runtime has not, or goes on without.
    (
        r"Specified provider '(?P<provider>\w+)' is not in available provider names",
        "this build of ONNX Runtime has no {provider}: install the one that has it, such as onnxruntime-gpu, and "
        "uninstall onnxruntime, which hides it under the same name",
    ),
    (
        r"EP Error|Falling back to \[",
        "a provider does not start, and the processor would do its work: install the libraries that it asks for",
    ),
    (
        r"explicitly added the CPU EP",
        "the processor was named as a provider and ruled out at once: leave one of the two out",
    ),
    (
        r"'session\.record_ep_graph_assignment_info'\s+must be set",
        "where its operators run was not recorded: set that entry before the session is made",
    ),
    # Neuron's compiler and runtime.
    (
        r"neuron-cc is not found|neuron-cc or neuronx-cc is not installed",
        "the compiler is not installed: install it from AWS's Neuron repository into the worker's environment",
    ),
    (
        r"nrt_init|Neuron Runtime could not be initialized",
        "no NeuronCore could be had: end the process that neuron-ls shows, and give several models of one test a "
        "core_group each; or look in the worker's log whether driver and runtime fit each other",
    ),
    (
        r"Failed to allocate enough NeuronCores",
        "the model needs more NeuronCores than it was given: ask for fewer neuroncores, or compile it anew",
    ),
    (
        r"Not enough runtime resource|Failed to allocate a resource|Not enough host memory|status=4 message=Allocation",
        "memory of the device does not suffice: ask for a smaller batch_size, or for more neuroncores",
    ),
    (
        r"Hardware failure|EXEC_UNIT_UNRECOVERABLE|status=120\d",
        "the device is lost: look in dmesg and neuron-ls, and reboot the instance",
    ),
    (
        r"Unsupported version of NEFF",
        "the compiler is newer than the runtime: upgrade aws-neuronx-runtime-lib, or compile with an older one",
    ),
    (r"Inconsistent client batch sizes", "a call has another batch than was compiled: " + _DATA),
    (
        r"unsupported operator: (?P<operator>aten::\w+)",
        _NO_OPERATOR,
    ),
    (
        r"neuronx?-cc failed|subgraphs failed to compile",
        "the compiler refused these options for this model: try another batch_size, neuroncores or precision",
    ),
    # A row that a table, such as one of embeddings, does not have: ONNX Runtime, TensorFlow and PyTorch.
    (
        r"element out of data bounds, idx=(?P<row>-?\d+) must be within the inclusive range \[-?\d+,(?P<last>\d+)",
        _ROW + ", the last one is {last}: check the values of the ids",
    ),
    (
        r"indices\[[\d, ]*\] = (?P<row>-?\d+) is not in \[0, (?P<rows>\d+)\)",
        _ROW + ", it has {rows}: check the values of the ids",
    ),
    (
        r"index out of range in self",
        "an index asks a table for a row that it does not have: check the values of the ids",
    ),
    (r"while running (?P<operator>\S+) node\. Name:'(?P<node>[^']*)'", _UNFIT_INPUTS),
    (r"\[CPU\] (?P<operator>\S+) node with name '(?P<node>[^']*)'", _UNFIT_INPUTS),
    # INT8.
    (
        r"No data is collected|Calibration dataset must not be empty",
        "INT8 needs calibration data: pass calibration=",
    ),
    (r"scale issue", "a range is not finite: look for NaN and overflow in the calibration data and the FP32 model"),
    # What is installed, and the machine.
    (
        r"Unsupported property (?P<property>\S+) by",
        "this release has no {property}: install openvino 2025.0 or newer, and nothing of an older one beside it",
    ),
    (
        r"Cannot load library .*: (?P<library>\S+): cannot open shared object file",
        "the library {library} is missing: install the driver of that device",
    ),
    # TensorFlow, of an old release, with TensorRT inside or on a GPU.
    (
        r"not been built with TensorRT support",
        "TensorFlow 2.17 was the last release with TF-TRT: set accel_python to an environment that has it with "
        "TensorRT 8.6, or use gpu-trt",
    ),
    (
        r"disallowed engine native segment",
        "TensorRT has no engine for a part of the model, which TensorFlow would compute without a word: see the "
        "worker's log for why, raise workspace_mb, or ask for another precision",
    ),
    (
        r"Op type not registered '(?P<operator>[^']+)'",
        "this TensorFlow is too old to know {operator!r}: save the model with the release that the worker has, or "
        "replace the operator",
    ),
    (
        r"Cannot assign a device for operation \{?\{?(?:node )?(?P<operator>[^}: ]+)",
        "there is no kernel for {operator!r} on a GPU, where the model wants it: export it without that device, or "
        "replace the operator",
    ),
    (
        r"unsupported operations when trying to compile graph .*?: (?P<operator>\w+)",
        "XLA has no operator {operator!r}: use xla=False, or replace it in the model",
    ),
    # TensorRT and CUDA.
    (r"NODE at node \d+ '.*?', operator '(?P<operator>[^']*)': .*Plugin not found", _NO_OPERATOR),
    (
        r"INVALID_NODE at node \d+ '(?P<node>.*?)', operator '(?P<operator>[^']*)'",
        "{operator} {node!r} has types, shapes or attributes that TensorRT does not take: ask for another precision, "
        "or " + _OUTSIDE,
    ),
    (
        r"Cannot compile operation '(?P<node>[^']+)' for (?P<device>[^:]+): (?P<why>[^)\n]+?)(?:\. In |\)|\n|$)",
        "NVIDIA has no kernel of {node!r} for {device} ({why}): ask for another precision or target",
    ),
    (
        r"Cannot compile for target\(s\) (?P<target>[^,]+), because the model contains HW-specific datatypes",
        "a GPU of {target} does not compute in this precision: ask for another precision or target",
    ),
    (r"UNSUPPORTED_NODE\w* at node \d+ '.*?', operator '(?P<operator>[^']*)'", _NO_OPERATOR),
    (
        r"Could not find any implementation for node (?P<node>\{.*?\}|[^ )]+)",
        "no kernel computes {node} within the limits: raise workspace_mb, or ask for another precision",
    ),
    (
        r"cudaErrorMemoryAllocation|OutOfMemory|Cuda Runtime \(out of memory\)|amount of GPU memory",
        "the GPU's memory does not suffice: ask for a smaller batch_size or workspace_mb, or end what else uses it",
    ),
    (
        r"cudaError(?:LaunchFailure|IllegalAddress|ECCUncorrectable|HardwareStackError|Unknown)",
        "the GPU failed in the middle of its work: look for the driver's Xid message in dmesg, and reset the GPU",
    ),
    (
        r"cudaErrorNotReady",
        "waiting for the GPU ended before its work was done, so no time is that of a call: look for what stands "
        "between this process and CUDA, such as a profiler or a library in LD_PRELOAD",
    ),
    (
        r"not compatible with this version of TensorRT|Version tag does not match|incompatible device",
        "the engine was built by another TensorRT or for another GPU: compile it anew",
    ),
    (
        r"make_sure failure",
        "an operator's shapes or types are not among those that tf2onnx converts: give its inputs fixed shapes, or "
        "leave this accelerator out",
    ),
)


def explained(failed: str, error: Union[BaseException, str]) -> str:
    """Return what failed, what to do about it where that is known, and the vendor's words."""
    words = str(error).strip() or type(error).__name__
    for pattern, advice in ADVICE:
        found = re.search(pattern, words)
        if found is not None:
            return f"{failed}: {advice.format(**found.groupdict())} ({words})"
    return f"{failed}: {words}"
