"""PyTorch on the processor and on the GPU."""
