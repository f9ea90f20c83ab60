"""Workers that import TensorFlow are forked where a class asks for it, so that it is imported once for all classes."""

from tests.plugin.forked_tensorflow import tensorflow_servers as tensorflow_servers
