"""What only a machine with an NVIDIA GPU and PyTorch can show, without a network and within ten minutes.

``python -m tests.hardware.gpu_torch [--wheels FOLDER] -o PATH.json``, in the root of the repository. The wheels are
those of `NEEDED`, which are installed into an environment of their own beside the PyTorch that is here. The file has
what an acceptance has, and is written after each check.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_accel.acceptance.finding import Finding
    from pytest_accel.acceptance.subject import Subject
    from pytest_accel.facts.acceptance import Acceptance

ROOT = Path(__file__).parents[2]
#: NEEDED are the packages beside PyTorch.
NEEDED = (
    *("pytest", "pytest-benchmark", "numpy", "execnet", "msgspec", "filelock", "platformdirs", "psutil"),
    *("nvidia-ml-py", "cuda-python"),
)
#: MOST_S is the number of seconds after which no further check begins. The longest one takes about a minute.
MOST_S = 500.0
#: ACCEPTED are the checks of an acceptance that are made here too.
ACCEPTED = (
    *("identity", "contract", "yardstick-fp32", "yardstick-tf32", "yardstick-fp16", "yardstick-bf16"),
    *("factory-ops", "int64-inputs", "two-inputs", "work-ahead", "vendor-tool", "more-work"),
    *("killed-process", "free-device", "raw-answers", "resnet50-fp32", "resnet50-fp16"),
)
SELF_TEST_S = 60.0
#: LOAD_S is the number of seconds of matrix products, in which clocks and power have to rise.
LOAD_S = 8.0
#: SLEEP_MS is about the length of the kernel whose time both clocks have to tell.
SLEEP_MS = 20.0
#: BYTES is the size of what is copied to the GPU and back.
BYTES = 1 << 20


def main(argv: list[str] | None = None) -> int:
    """Make the checks. The exit status is 0 where none failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder with the wheels to install")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    if arguments.wheels is not None:
        return in_own_environment(arguments.wheels, arguments.output.resolve())
    return look(arguments.output)


def in_own_environment(wheels: Path, output: Path) -> int:
    """Install the wheels beside what is here, and do the same there. Nothing but the folder is asked for packages."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, system_site_packages=True, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        install = [python, "-m", "pip", "install", "-q", "--no-index", "--find-links", str(wheels), *NEEDED]
        subprocess.run(install, check=True)
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [python, "-m", "tests.hardware.gpu_torch", "-o", str(output)]
        return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


def look(output: Path) -> int:
    """Make the checks with the packages that are here."""
    from pytest_accel.acceptance.record import write
    from pytest_accel.commands.accept import subject_of

    os.environ.setdefault("PYTHONPATH", str(ROOT))  # for the pytest of the contract
    began_s = time.monotonic()
    failed = True
    with subject_of("gpu-torch", "") as subject:
        for acceptance in checked(subject, lambda: time.monotonic() - began_s):
            last = acceptance.results[-1:]
            for result in last:
                print(f"{result.outcome:<14} {result.check:<18} {result.seconds:5.1f} s  {result.reason}", flush=True)
            write([acceptance], output)
            failed = acceptance.standing in ("failed", "absent")
        if acceptance.absent:
            print(f"gpu-torch is absent: {acceptance.absent}")
        for name, text in subject.raw_answers.items():
            kept = output.with_suffix("") / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(text, encoding="utf-8")
    return int(failed)


def checked(subject: Subject, spent_s: Callable[[], float]) -> Iterator[Acceptance]:
    """Make all checks that begin in time."""
    from pytest_accel.acceptance import run

    known = run.checks_of(subject.precisions)
    checks = {
        **{name: known[name] for name in ACCEPTED[:1]},
        "nvml-identity": check_nvml_identity,
        "cuda-streams": check_cuda_streams,
        "kernel-length": check_kernel_length,
        "counters-under-load": check_counters_under_load,
        **{name: known[name] for name in ACCEPTED[1:]},
        "self-test": check_self_test,
    }
    yield from run.made_in_turn(subject, {name: in_time(check, spent_s) for name, check in checks.items()})


def in_time(check: Callable[[Subject], Finding], spent_s: Callable[[], float]) -> Callable[[Subject], Finding]:
    """Return the check, which is left out once the time is over."""
    from pytest_accel.acceptance.finding import NotApplicable

    def timely(subject: Subject) -> Finding:
        if spent_s() > MOST_S:
            raise NotApplicable(f"{MOST_S:.0f} s were over")
        return check(subject)

    return timely


def check_nvml_identity(subject: Subject) -> Finding:
    """PyTorch's device is the one that NVML tells about, by its number and its memory."""
    import torch

    from pytest_accel.acceptance.finding import Broken, Finding
    from pytest_accel.worker.hardware.nvml import Device

    facts, told = torch.cuda.get_device_properties(0), Device().identity()
    ours = {"gpu": facts.name, "gpu_uuid": f"GPU-{facts.uuid}", "sm_count": facts.multi_processor_count}
    for name, value in ours.items():
        if name in told and told[name] != value:
            raise Broken(f"{name} is {value} for PyTorch and {told[name]} for NVML")
    return Finding(", ".join(f"{name} {value}" for name, value in told.items()))


def check_cuda_streams(subject: Subject) -> Finding:
    """Copies through our own streams come back whole, and events are in order."""
    from pytest_accel.acceptance.finding import Broken, Finding, NotApplicable
    from pytest_accel.worker.hardware.cuda import Cuda, DeviceMemory, Event, PinnedMemory, Stream

    try:
        cuda = Cuda()
    except ImportError as error:
        raise NotApplicable(f"cuda-python cannot be imported: {error}") from None
    stream, there = Stream(cuda), DeviceMemory(cuda, BYTES)
    sent, back = PinnedMemory(cuda, BYTES), PinnedMemory(cuda, BYTES)
    sent.as_array((BYTES,), "uint8")[:] = 171
    began, ended = Event(cuda), Event(cuda)
    stream.mark(began)
    stream.upload(sent, there, BYTES)
    stream.download(there, back, BYTES)
    stream.mark(ended)
    stream.synchronize()
    if not (back.as_array((BYTES,), "uint8") == 171).all():
        raise Broken("what came back from the GPU is not what was sent")
    took_ms = ended.ms_since(began)
    if took_ms <= 0:
        raise Broken(f"an event is {took_ms} ms after an earlier one")
    return Finding(f"{cuda.device().uuid}: {BYTES} bytes there and back", {"copies_ms": took_ms})


def check_kernel_length(subject: Subject) -> Finding:
    """A kernel of a known length takes as long for CUDA's events as for the clock of the host that waits for it."""
    import torch

    from pytest_accel.acceptance.finding import Broken, Finding

    stream = torch.cuda.Stream()
    clocks = round(torch.cuda.get_device_properties(0).clock_rate * SLEEP_MS)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.stream(stream):
        torch.cuda._sleep(clocks)  # the first one loads the kernel
        stream.synchronize()
        start_s = time.perf_counter()
        began.record()
        torch.cuda._sleep(clocks)
        ended.record()
        returned_ms = 1e3 * (time.perf_counter() - start_s)
        stream.synchronize()
        waited_ms = 1e3 * (time.perf_counter() - start_s)
    by_events_ms = began.elapsed_time(ended)
    numbers = {"by_events_ms": by_events_ms, "waited_ms": waited_ms, "returned_ms": returned_ms}
    if not 0.8 < waited_ms / by_events_ms < 1.25:
        raise Broken(f"the host waited {waited_ms:.2f} ms for {by_events_ms:.2f} ms of work")
    return Finding(f"{by_events_ms:.2f} ms by events, {waited_ms:.2f} ms waited for", numbers)


def check_counters_under_load(subject: Subject) -> Finding:
    """Clocks and power are told under load, and the counters of what holds the GPU back only grow."""
    import torch

    from pytest_accel.acceptance.finding import Broken, Finding
    from pytest_accel.worker.hardware.nvml import Device

    device = Device()
    before, idle = device.held_back_ns(), device.state()
    matrix = torch.rand(4096, 4096, device="cuda")
    until_s = time.monotonic() + LOAD_S
    while time.monotonic() < until_s:
        for _ in range(20):
            matrix = (matrix @ matrix).clamp(0, 1)
        torch.cuda.synchronize()
    under_load, after = device.state(), device.held_back_ns()
    backwards = [cause for cause in before if after.get(cause, 0) < before[cause]]
    if backwards:
        raise Broken(f"the counter of {backwards[0]} went back")
    if not under_load:
        raise Broken("NVML tells nothing about clocks, temperature and power")
    grown_ms = {f"held_back_by_{cause}_ms": (after[cause] - ns) / 1e6 for cause, ns in before.items()}
    return Finding(f"idle {idle}; under load {under_load}", grown_ms)


def check_self_test(subject: Subject) -> Finding:
    """The gate leaves an unchanged network green and turns a slowed one red."""
    from pytest_accel.acceptance.finding import Broken, Finding
    from pytest_accel.regression.selftest import prove
    from pytest_accel.report.selftest import describe

    with subject.with_settings(selftest_budget_s=SELF_TEST_S) as other:
        proof = prove(other.session, other.accelerator)
    told = "; ".join(line.strip() for line in describe(proof))
    if not proof.holds:
        raise Broken(told)
    return Finding(told)


if __name__ == "__main__":
    sys.exit(main())
