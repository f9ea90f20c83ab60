"""The state of a worker's process: the peak of memory, and what watches it."""

from __future__ import annotations

import re
import resource
import sys
from typing import List

from pytest_accel.worker.kernel_files import Path, read


def memory_peak_mb() -> float:
    """Return the most memory that this process has held since `forget_memory_peak`."""
    try:
        with open("/proc/self/status") as status:
            peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        # Also inherits the peak of the process that started this one, so only the second choice.
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    return peak_kb / 1024


def forget_memory_peak() -> None:
    """Start the peak from the memory held at this moment, where the kernel allows it."""
    try:
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")
    except OSError:
        pass


def watchers(root: Path = "/") -> List[str]:
    """Return what watches every line, call or system call of this process and so slows it down."""
    hooks = (("a trace function", sys.gettrace()), ("a profile function", sys.getprofile()))
    found = [f"{name} ({type(hook).__module__})" for name, hook in hooks if hook is not None]
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        tools = [tool for tool in map(monitoring.get_tool, range(6)) if tool]
        found += [f"sys.monitoring ({tool})" for tool in tools]
    tracer = re.search(r"^TracerPid:\s+([1-9]\d*)", read(root, "proc/self/status"), re.MULTILINE)
    return [*found, f"process {tracer[1]} (a native debugger or strace)"] if tracer else found
