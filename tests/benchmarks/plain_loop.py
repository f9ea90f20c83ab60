"""What somebody would write by hand to time a SavedModel: ``python plain_loop.py MODEL INPUTS.npy``.

For each line ``CALLS`` on standard input it makes one untimed call and ``CALLS`` timed ones, and writes their median in
nanoseconds. Knows nothing of pytest-accel.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter_ns

import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
predict = model.signatures["serving_default"]
((name, _),) = predict.structured_input_signature[1].items()
((output, _),) = predict.structured_outputs.items()
inputs = tf.constant(np.load(sys.argv[2]))

for line in sys.stdin:
    predict(**{name: inputs})[output].numpy()
    times_ns = []
    for _ in range(int(line)):
        start = perf_counter_ns()
        predict(**{name: inputs})[output].numpy()
        times_ns.append(perf_counter_ns() - start)
    print(median(times_ns), flush=True)
