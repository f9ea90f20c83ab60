"""The made-up Neuron device below its runtimes: cores that a process takes, counters of the driver, and rounding.

Cores are taken by a lock on a file that only the end of the process frees; `neuron_host` makes the files. What goes
wrong is raised as `Failed`, which each framework's stand-in tells in that framework's words.

The counters have the habits of the driver's release. Up to 2.30.1 a counter gets what a process did when that ends,
however it ends: ``neuron_ds_release_entry`` in ``neuron_ds.c``, which the kernel calls as it closes the process's
files, is the one caller of ``nsysfsmetric_nds_aggregate``. From 2.30.2 on a counter moves at once.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import neuron_driver
import numpy as np

#: The first driver whose counters move at once.
COUNTS_LIVE = (2, 30, 2)

_lock = threading.Lock()
_cores: list[Path] = []
_held: list[int] = []
_calls = 0
#: The pipe to the process that adds up after this one, once there is one.
_tally: int | None = None


class Failed(Exception):
    """The runtime says no; ``why`` is "memory", "lost", "too-few-cores" or "no-cores"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def misbehaves(habit: str) -> bool:
    """Whether this habit is switched on."""
    return os.environ.get("STANDIN_MISBEHAVES") == habit


def before_a_call() -> None:
    """Fail as a device does."""
    global _calls
    with _lock:
        _calls += 1
    if misbehaves("out-of-memory"):
        raise Failed("memory")
    if misbehaves("lost-device") and _calls > 20:
        raise Failed("lost")


def cores_of_process(needed: int) -> list[Path]:
    """The sysfs folders of the cores that this process has, taken when they are first asked for."""
    with _lock:
        if not _cores:
            _cores.extend(_take())
    if needed > len(_cores):
        raise Failed("too-few-cores")
    return _cores


def count(core: Path) -> None:
    """Have the driver count an inference, unless it was none."""
    global _tally
    if misbehaves("falls-back"):
        return
    counter = "status/execute_completed_with_num_error" if misbehaves("nan") else "other_info/inference_count"
    file = core / "stats" / counter / "total"
    with _lock:
        if not file.exists():
            return
        if _driver() >= COUNTS_LIVE:
            neuron_driver.add(file, 1)
            return
        if _tally is None:
            _tally = _adds_up_afterwards()
        os.write(_tally, f"{file}\n".encode())


def _driver() -> tuple[int, ...]:
    version = Path(os.environ["ACCEL_HOST_ROOT"], "sys/module/neuron/version").read_text()
    return tuple(int(part) for part in version.split("."))


def _adds_up_afterwards() -> int:
    """Start what the kernel's side of the driver is: it hears of each inference, and adds up once this process ends.

    It holds the wire of this process open for as long as that takes, as a process is no zombie before its files are
    closed. Cores are no matter of it. It is a program of its own, because a fork of a process with threads may wait
    for ever for a lock that one of them had.
    """
    wires = [int(path.name) for path in Path("/proc/self/fd").iterdir() if "pipe:" in os.path.realpath(path)]
    hears, tells = os.pipe()
    adds_up = [sys.executable, "-I", "-S", str(Path(__file__).with_name("neuron_driver.py"))]
    driver = subprocess.Popen(adds_up, stdin=hears, pass_fds=wires, start_new_session=True)
    driver.returncode = 0  # it outlives this process, which does not wait for it
    os.close(hears)
    return tells


def _keep_bits(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    """Round FP32 to so many bits of mantissa, as a narrower type would; other types stay."""

    def rounded(array: np.ndarray) -> np.ndarray:
        if array.dtype != np.float32:
            return array
        cut = 23 - bits
        whole = np.ascontiguousarray(array).view(np.uint32)
        kept = (whole + np.uint32(1 << (cut - 1))) & np.uint32(0xFFFFFFFF << cut & 0xFFFFFFFF)
        return kept.view(np.float32).reshape(array.shape)  # a scalar became an array of one

    return rounded


ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bfloat16": _keep_bits(7),
    "float16": _keep_bits(10),
    "tf32": _keep_bits(10),
    "float32": np.array,
    "casts": _keep_bits(1),
}


def _take() -> list[Path]:
    root = Path(os.environ["ACCEL_HOST_ROOT"])
    every = sorted(root.glob("sys/devices/virtual/neuron_device/neuron*/neuron_core*"))
    listed = os.environ.get("NEURON_RT_VISIBLE_CORES")
    if listed:
        first, _, last = listed.partition("-")
        wanted = every[int(first) : int(last or first) + 1]
        needed = int(last or first) + 1 - int(first)
    else:
        wanted = every
        needed = int(os.environ.get("NEURON_RT_NUM_CORES", "0")) or len(every)
    free = [] if misbehaves("no-cores") else [core for core in wanted if len(_held) < needed and _lock_core(core)]
    if len(free) < needed:
        sys.stderr.write(
            "ERROR  NRT:nrt_allocate_neuron_cores  NeuronCore(s) not available - "
            f"Requested:{needed} Available:{len(free)}\n"
        )
        raise Failed("no-cores")
    return free


def _lock_core(core: Path) -> bool:
    lock = os.open(core / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _held.append(lock)
    return True
