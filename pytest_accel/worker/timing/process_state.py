"""The state of a worker's process: the peak of memory, and what watches it."""

from __future__ import annotations

import resource
import sys


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


def tracing(status: str = "/proc/self/status") -> str:
    """Return what watches every line, call or system call of this process and so slows it down; empty if nothing."""
    if sys.gettrace() is not None:
        return "a trace function (a debugger or coverage)"
    if sys.getprofile() is not None:
        return "a profile function"
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        tools = [tool for tool in map(monitoring.get_tool, range(6)) if tool]
        if tools:
            return f"sys.monitoring ({', '.join(tools)})"
    try:
        with open(status, encoding="utf-8") as lines:
            tracer = next((line.split()[1] for line in lines if line.startswith("TracerPid:")), "0")
    except OSError:
        tracer = "0"
    return f"process {tracer} (a native debugger or strace)" if tracer != "0" else ""
