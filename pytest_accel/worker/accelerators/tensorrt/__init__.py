"""TensorRT: its own runtime, and TensorFlow with TensorRT inside."""
