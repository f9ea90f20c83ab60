"""cuda-python 13.5, or 12.6 where ``STANDIN_CUDA_PYTHON`` says so, with one T4, or what ``STANDIN_GPU`` says.

Written from the modules of those releases: names, values, tuples that begin with the error, and nothing that raises.
The device is a table of allocations behind addresses that the host cannot read. Streams are asynchronous: a copy or a
run is only noted, and done when somebody synchronises. ``STANDIN_MISBEHAVES`` is a comma-separated list of habits, of
which these are CUDA's: ``returns-early`` (waiting for a stream ends before its work is done), ``loses-device`` (the
device fails after some calls, and from then on), ``small-memory`` (hardly any is free), and errors of the first call:
``hidden-device``, ``insufficient-driver``, ``other-module`` (the kernel's is of another version than the library),
``taken-device`` and ``no-libcuda``.
"""
