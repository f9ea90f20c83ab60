"""Keeps deep-learning inference fast, accurate and cheap on every accelerator you serve it from."""

__version__ = "0.1.0"
