"""Elastic Inference for TensorFlow."""
