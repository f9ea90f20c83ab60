"""ONNX Runtime on the processor and on the GPU."""
