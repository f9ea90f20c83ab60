"""The way a worker ended, in words. What it leaves behind is in `pytest_accel.worker.host.remains`."""

from __future__ import annotations

import signal


def ending(status: int, *, more_oom_kills: bool) -> str:
    """Return an exit status in words; ``more_oom_kills`` says that the kernel ended some process for want of memory."""
    if status >= 0:
        return f"exited with status {status}"
    words = f"was killed by {signal.Signals(-status).name}"
    if -status != signal.SIGKILL:
        return words
    return f"{words} by the kernel, out of memory," if more_oom_kills else f"{words} (out of memory, perhaps)"
