"""TensorRT: building engines, and running them with the runtime of TensorRT."""
