"""A stand-in for ei_for_tf 1.0 (Elastic Inference enabled TensorFlow 2.0.2), of which only the predictor is used.

Written from AWS's samples (aws-elastic-inference-tensorflow-examples), the predictor's base class in TensorFlow 1, and
logs of the client library. The model runs with TensorFlow on the host. What it prints is what the real one prints.

Habits of the real one, by ``STANDIN_MISBEHAVES``: ``falls-back`` (no accelerator can be reached, and the model runs on
the host without a word), ``wrong-accelerator`` (the ordinal is taken for another one), ``lost-device`` (after 20
calls), ``nan``, ``casts`` (all but the largest values to 0), ``out-of-memory``, ``refuses-operator`` (its TensorFlow
is older than the model), ``slow-compile`` (bringing the model to the accelerator takes minutes).
"""
