"""What somebody would write by hand to time an ONNX model: ``python plain_onnx_loop.py MODEL.onnx INPUTS.npy CALLS``.

Says ``begin`` once it is warm, makes ``CALLS`` calls, and writes their number, duration and median in milliseconds as
OpenVINO's ``benchmark_app`` does. Knows nothing of pytest-accel.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter_ns

import numpy as np
import onnxruntime

WARM_UP_CALLS = 30

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(feed,) = ({each.name: np.load(sys.argv[2])} for each in session.get_inputs())
for _ in range(WARM_UP_CALLS):
    session.run(None, feed)
print("begin", flush=True)

times_ns = []
begin = perf_counter_ns()
for _ in range(int(sys.argv[3])):
    start = perf_counter_ns()
    session.run(None, feed)
    times_ns.append(perf_counter_ns() - start)
duration_ns = perf_counter_ns() - begin
print(f"Count: {len(times_ns)} Duration: {duration_ns / 1e6:.4f} Median: {median(times_ns) / 1e6:.4f}")
