"""Every row of the table with the vendor's own text. What a small model can provoke, the contract tests do."""

from __future__ import annotations

import re

import pytest

from pytest_accel.worker.vendor_errors import ADVICE, explained

DOWN = "Check 'false' failed at src/frontends/common/src/frontend.cpp:47:\n"
NUMBERED = "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : "
TOLD = [
    (
        'In Node, ("odd", NotAnOp, "", -1) : ("x": tensor(float),) , Error No Op registered for NotAnOp with '
        "domain_version of 17",
        "there is no operator 'NotAnOp': replace it in the model, or leave this accelerator out",
    ),
    ("Fatal error: com.acme:MyOp(-1) is not a registered function/op", "there is no operator 'com.acme:MyOp': replace"),
    (
        "Could not find an implementation for Relu(14) node with name 'odd'",
        "there is no operator 'Relu(14)' on this device for these types: replace it",
    ),
    (
        "FrontEnd API failed with OpConversionFailure:\nModel wasn't fully converted.\nSummary:\n"
        "-- No conversion rule found for operations: com.acme.MyOp, Odd\nTo facilitate the conversion ...",
        "there is no operator for com.acme.MyOp, Odd: replace it",
    ),
    (
        "FrontEnd API failed with GeneralFailure:\n"
        "OpenVINO does not support the following ONNX operations: com.acme.MyOp, Odd\n\n",
        "there is no operator for com.acme.MyOp, Odd: replace it",
    ),
    (
        "Unsupported model IR version: 99, max supported IR version: 14",
        "the file has the ONNX format 99 and this release reads up to 14: upgrade onnxruntime, or save the model with "
        "ir_version=14",
    ),
    (
        "ONNX Runtime only *guarantees* support for models stamped with official released onnx opset versions. "
        "Opset 99 is under development and support for this is limited.",
        "the model needs opset 99, which this release does not have: upgrade it, or export with a lower opset",
    ),
    (
        'External data path validation failed for initializer: kernel. External data path does not exist: "/m/w.data"',
        "its weights are not in /m/w.data: put that file beside the model",
    ),
    (
        "Data of TensorProto ( tensor name: kernel) should be stored in /m/w.data, but it is not regular file.",
        "its weights are not in /m/w.data: put that file beside the model",
    ),
    (
        f"{DOWN}Loading input model\nInvalid usage of method for externally stored data in file (w.data, offset: 0, "
        "data_length: 1728)",
        "its weights are not in w.data: put that file beside the model",
    ),
    (
        f"{DOWN}While validating ONNX node '<Node(Conv): c>': Check 'data.get_partial_shape().rank().is_static()'\n"
        "The input data tensor's rank has to be known (static)",
        "it has to know how many dimensions each tensor has, and this model does not tell: export it anew without",
    ),
    ("Load model /m/m.onnx failed. File doesn't exist", "the file is not there, or may not be read: check the path"),
    ('onnx: Could not open the file: "/m/m.onnx"', "the file is not there, or may not be read: check the path"),
    ("Load model from m.onnx failed:Protobuf parsing failed.", "the file is damaged or holds no model: export it anew"),
    ("No graph was found in the protobuf.", "the file is damaged or holds no model"),
    ('Unable to read the model: "/m/m.onnx" Please check', "the file is damaged or holds no model"),
    ("Error parsing message with type 'onnx.ModelProto'", "the file is damaged or holds no model"),
    (
        "Invalid model. Node input 'nope' is not a graph input, initializer, or output of a previous node.",
        "it reads a tensor 'nope' that nothing gives: export it anew",
    ),
    (f'{DOWN}Input tensor isn\'t found for node "nope"', "it reads a tensor 'nope' that nothing gives"),
    (
        "Type Error: Type 'tensor(int64)' of input parameter (x) of operator (Sin) in node (odd) is invalid.",
        "operator 'Sin' does not take a tensor(int64): cast its input in the model",
    ),
    ("Node (mm) Op (MatMul) [ShapeInferenceError] Incompatible dimensions", "its shapes do not fit each other: ask"),
    ("While validating ONNX node '<Node(MatMul): y>': Check", "its shapes do not fit each other: ask for the batch"),
    ("While validating node 'opset1::Reshape y (opset1::Parameter x[0]:f32[3,7]", "its shapes do not fit each other"),
    (
        f"{NUMBERED}Got invalid dimensions for input: x for the following indices\n index: 1 Got: 4 Expected: 3\n"
        " Please fix either the inputs/outputs or the model.",
        "an input has another shape: give it what the model's signature says",
    ),
    (f"{NUMBERED}Invalid rank for input: x Got: 3 Expected: 4", "an input has another shape"),
    (
        "Can't set the input tensor with index: 0, because the model input (shape=[?,3,16,16]) and the tensor "
        "(shape=(1.4.16.16)) are incompatible",
        "an input has another shape",
    ),
    (
        f"{NUMBERED}Unexpected input data type. Actual: (tensor(double)) , expected: (tensor(float))",
        "an input has another dtype: give it",
    ),
    ("ParameterMismatch: Failed to set tensor for input with precision: f64", "an input has another dtype"),
    ("Required inputs (['x']) are missing from input feed (['q']).", "an input has another name"),
    (f"{NUMBERED}Invalid input name: img", "an input has another name"),
    ("Port for tensor name img was not found.", "an input has another name"),
    (
        "Specified provider 'TensorrtExecutionProvider' is not in available provider names. Available providers: "
        "'AzureExecutionProvider, CPUExecutionProvider'",
        "this build of ONNX Runtime has no TensorrtExecutionProvider: install the one that has it",
    ),
    (
        "EP Error /onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:505 when using "
        "['CUDAExecutionProvider']\nFalling back to ['CPUExecutionProvider'] and retrying.",
        "a provider does not start, and the processor would do its work: install the libraries",
    ),
    (
        f"{NUMBERED}Conflicting session configuration: explicitly added the CPU EP to the session, but also disabled "
        "fallback to the CPU EP via session configuration options.",
        "the processor was named as a provider and ruled out at once",
    ),
    (
        "[ONNXRuntimeError] : 1 : FAIL : Session configuration entry 'session.record_ep_graph_assignment_info' must be "
        'set to "1" to retrieve graph assignment information.',
        "where its operators run was not recorded: set that entry before the session is made",
    ),
    (
        "Non-zero status code returned while running Reshape node. Name:'g' Status Message: the dimension",
        "Reshape 'g' cannot compute with these inputs: check their sizes and values",
    ),
    (
        f"{NUMBERED}Non-zero status code returned while running Gather node. Name:'' Status Message: indices element "
        "out of data bounds, idx=9 must be within the inclusive range [-2,1]",
        "an index of 9 asks a table for a row that it does not have, the last one is 1: check the values of the ids",
    ),
    (
        "Graph execution error:\n\nDetected at node emb/GatherV2\nindices[0,3] = 5 is not in [0, 5)",
        "an index of 5 asks a table for a row that it does not have, it has 5: check the values of the ids",
    ),
    (
        "index out of range in self",
        "an index asks a table for a row that it does not have: check the values of the ids",
    ),
    ("[CPU] Reshape node with name 'y' Check 'minusOneCount", "Reshape 'y' cannot compute with these inputs"),
    ("No data is collected.", "INT8 needs calibration data: pass calibration="),
    ("Calibration dataset must not be empty. Please provide", "INT8 needs calibration data"),
    ("scale issue", "a range is not finite: look for NaN and overflow in the calibration data"),
    ("NotFound: Unsupported property FOO by CPU plugin.", "this release has no FOO: install openvino 2025.0 or newer"),
    (
        'Cannot load library "libopenvino_intel_gpu_plugin.so": libOpenCL.so.1: cannot open shared object file',
        "the library libOpenCL.so.1 is missing: install the driver of that device",
    ),
    ("Non-zero status code: std::bad_alloc", "memory does not suffice: ask for a smaller batch_size"),
    ("Failed to allocate memory for requested buffer of size 4398046511104", "memory does not suffice"),
    (
        "OOM when allocating tensor with shape[1,64,112,112] and type float on /device:GPU:0 by allocator GPU_0_bfc",
        "the GPU's memory does not suffice: ask for a smaller batch_size, or end what else uses it",
    ),
    ("CUDA out of memory. Tried to allocate 20.00 GiB.", "the GPU's memory does not suffice"),
    (
        "Failed to synchronize GPU: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure",
        "the GPU failed in the middle of its work: look for the driver's Xid message in dmesg, and reset the GPU",
    ),
    (
        "Non-zero status code returned while running Conv node. Name:'c' Status Message: CUDA failure 700: an illegal "
        "memory access was encountered ; GPU=0",
        "the GPU failed in the middle of its work",
    ),
    ("Tensorflow has not been built with TensorRT support.", "TensorFlow 2.17 was the last release with TF-TRT: set"),
    (
        "User disallowed engine native segment execution",
        "TensorRT has no engine for a part of the model, which TensorFlow would compute without a word",
    ),
    (
        "Op type not registered 'DisableCopyOnRead' in binary running on ip-10-0-0-7. Make sure the Op and Kernel are "
        "registered in the binary running in this process.",
        "this TensorFlow is too old to know 'DisableCopyOnRead': save the model with the release that the worker has",
    ),
    (
        "neuronx-cc failed with 70: [NCC_EUOC002] unsupported operator: aten::softmax",
        "there is no operator 'aten::softmax': replace it in the model",
    ),
    (
        "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged to your system logs.",
        "no NeuronCore could be had: end the process that neuron-ls shows",
    ),
    (
        "Could not load the model status=4 message=Allocation Failure",
        "memory of the device does not suffice: ask for a smaller batch_size",
    ),
    (
        "Cannot assign a device for operation {{node unique}}: Could not satisfy explicit device specification "
        "'/device:GPU:0' because no supported kernel for GPU devices is available.",
        "there is no kernel for 'unique' on a GPU, where the model wants it: export it without that device",
    ),
    (
        "Detected unsupported operations when trying to compile graph __inference_f_11[] on XLA_GPU_JIT: Unique (No "
        "registered 'Unique' OpKernel for XLA_GPU_JIT devices",
        "XLA has no operator 'Unique': use xla=False, or replace it in the model",
    ),
    ("UNSUPPORTED_NODE at node 0 '', operator 'Det': false", "there is no operator 'Det': replace it in the model"),
    (
        "INVALID_NODE at node 0 'odd', operator 'NotAnOperator': creator && \"Plugin not found, are the plugin name, "
        'version, and namespace correct?"',
        "there is no operator 'NotAnOperator': replace it in the model",
    ),
    (
        "INVALID_NODE at node 5 'normalise', operator 'LpNormalization': Assertion failed: (dt == DataType::kFLOAT || "
        "dt == DataType::kHALF): Only float inputs/outputs supported in LpNormalization.",
        "LpNormalization 'normalise' has types, shapes or attributes that TensorRT does not take: ask for another",
    ),
    (
        "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check_turing_op_compatibility] Cannot "
        "compile operation 'head/MatMul' for Turing (SM75): FP32 GEMM is not supported. In compileGraph at "
        "/_src/optimizer/myelin/codeGenerator.cpp:2012)",
        "NVIDIA has no kernel of 'head/MatMul' for Turing (SM75) (FP32 GEMM is not supported): ask for another",
    ),
    (
        "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:1500: run_passes] Cannot compile for "
        "target(s) sm75, because the model contains HW-specific datatypes: b16. In compileGraph at "
        "/_src/optimizer/myelin/codeGenerator.cpp:2012)",
        "a GPU of sm75 does not compute in this precision: ask for another precision or target",
    ),
    (
        "UNSUPPORTED_NODE at node 3 'odd', operator 'NotAnOp': Assertion failed: creator && \"Plugin not found, are "
        'the plugin name, version, and namespace correct?"',
        "there is no operator 'NotAnOp': replace it",
    ),
    (
        "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for node "
        "{ForeignNode[/model.0/Conv + /model.0/act/Relu]}.)",
        "no kernel computes {ForeignNode[/model.0/Conv + /model.0/act/Relu]} within the limits: raise workspace_mb",
    ),
    (
        "Requested amount of GPU memory (8589934592 bytes) could not be allocated. There may not be enough free memory "
        "for allocation to succeed.",
        "the GPU's memory does not suffice: ask for a smaller batch_size or workspace_mb",
    ),
    (
        "cudaErrorLaunchFailure: unspecified launch failure",
        "the GPU failed in the middle of its work: look for the driver's Xid message in dmesg, and reset the GPU",
    ),
    ("cudaErrorNotReady: device not ready", "waiting for the GPU ended before its work was done, so no time is that"),
    (
        "The engine plan file is generated on an incompatible device, expecting compute 9.0 got compute 8.9, please "
        "rebuild.",
        "the engine was built by another TensorRT or for another GPU: compile it anew",
    ),
    ("WARNING: neuron-cc is not found.", "the compiler is not installed: install it from AWS's Neuron repository"),
    (
        'Nrt::Init failed: nrt_init status=1, error message="Non specific failure".',
        "no NeuronCore could be had: end the process that neuron-ls shows",
    ),
    (
        "Failed to allocate enough NeuronCores for loading a NEFF: nrt_load",
        "the model needs more NeuronCores than it was given: ask for fewer neuroncores",
    ),
    ("Not enough runtime resource to load NEFF: nrt_load", "memory of the device does not suffice: ask for a smaller"),
    (
        'Execute failed: nrt_execute: status=6, error message="Hardware failure".',
        "the device is lost: look in dmesg and neuron-ls",
    ),
    (
        "Unsupported version of NEFF: nrt_load",
        "the compiler is newer than the runtime: upgrade aws-neuronx-runtime-lib",
    ),
    ("Inconsistent client batch sizes", "a call has another batch than was compiled: give it what"),
    (
        "The following subgraphs failed to compile: ['neuron_op_0']",
        "the compiler refused these options for this model: try another batch_size, neuroncores or precision",
    ),
    (
        "Input 0 of node StatefulPartitionedCall/AssignAddVariableOp was passed int64 from input/_7:0 incompatible "
        "with expected resource.",
        "it assigns variables when it is called, which the converted model would not have: export a signature that",
    ),
    ("make_sure failure: unsupported shape of Slice", "an operator's shapes or types are not among those that tf2onnx"),
]


@pytest.mark.parametrize(("words", "advice"), TOLD)
def test_a_known_error_says_what_to_do_and_keeps_the_vendors_words(words: str, advice: str) -> None:
    told = explained("It cannot be loaded", RuntimeError(words))
    assert told.startswith(f"It cannot be loaded: {advice}")
    assert told.endswith(f" ({words.strip()})")


def test_every_row_is_the_first_one_for_a_text_of_its_vendor() -> None:
    first = {next(pattern for pattern, _ in ADVICE if re.search(pattern, words)) for words, _ in TOLD}
    assert first == {pattern for pattern, _ in ADVICE}


def test_of_an_unknown_error_the_words_are_all_there_is() -> None:
    assert explained("It cannot be loaded", "a bad day") == "It cannot be loaded: a bad day"
    assert explained("It cannot be loaded", MemoryError()) == "It cannot be loaded: MemoryError"
