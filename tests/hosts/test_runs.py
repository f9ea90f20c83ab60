"""What runs on hosts must show: the same tests and verdicts on one machine and on three, and no network in a time."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_accel.facts.records import RunRecord, TestRecord
from pytest_accel.report.record import read_record
from tests.hosts.box import Box
from tests.hosts.far_drill import FarDrill

pytestmark = pytest.mark.hosts

#: MOST_BYTES is what a second run may send.
MOST_BYTES = 100_000
#: A model of some MB, as weights are: they do not compress.
WEIGHTS = {f"{number:x} {hash(str(number)):x}": "fake:float32" for number in range(60_000)}


def record_of(far: FarDrill, *args: str, status: int = 0) -> RunRecord:
    ran = far.run("--accel-report=run.json", *args)
    assert ran.status == status, ran.out
    return read_record(far.folder / "run.json")


def on(record: RunRecord, accelerator: str) -> TestRecord:
    (found,) = (test for test in record.tests if test.variant.accelerator == accelerator)
    return found


# What is the same


def test_the_same_tests_on_one_machine_and_on_three(far: FarDrill) -> None:
    hosts = Path(far.folder, "pytest.ini").read_text(encoding="utf-8")
    on_three = record_of(far)
    far.write("pytest.ini", "[pytest]\n")
    on_one = record_of(far)
    far.write("pytest.ini", hosts)
    assert [test.test for test in on_three.tests] == [test.test for test in on_one.tests]
    assert [test.kind for test in on_three.tests] == [test.kind for test in on_one.tests]
    assert len({test.versions["numpy"] for test in on_one.tests}) == 1
    assert len({test.versions["numpy"] for test in on_three.tests}) == 3


# What is true there


def test_what_a_record_says_is_the_hosts(far: FarDrill, gpu_box: Box, inf_box: Box) -> None:
    record = record_of(far)
    for name, box in {"far-gpu": gpu_box, "far-inf": inf_box}.items():
        asked = f"{box.python} -c 'import numpy, platform; print(platform.python_version(), numpy.__version__)'"
        versions = on(record, name).versions
        assert [versions["python"], versions["numpy"]] == box.run(asked).split()


@pytest.mark.parametrize(
    "line", [{"delay_ms": 30, "jitter_ms": 40}, {"delay_ms": 5, "loss": 0.02}], ids=["jitter", "loss"]
)
def test_a_bad_line_changes_no_time_and_no_verdict(far: FarDrill, gpu_box: Box, line: dict[str, Any]) -> None:
    """The fake device repeats to the nanosecond, so that any part of the network in a time would show."""
    good = on(record_of(far), "far-gpu")
    gpu_box.line(**line)
    bad = on(record_of(far), "far-gpu")
    assert bad.measurement is not None
    assert good.measurement is not None
    assert bad.measurement.latencies_ns == good.measurement.latencies_ns
    assert [verdict.kind for verdict in bad.verdicts] == [verdict.kind for verdict in good.verdicts]


def test_baselines_are_of_the_hosts_hardware_and_here(far: FarDrill) -> None:
    far.save_quickly()
    assert far.run("--accel-save-baseline").status == 0
    saved = {path.relative_to(far.folder).as_posix() for path in far.folder.glob("baselines/**/*.json")}
    assert {name.rpartition("/")[2] for name in saved} == {"fake.json", "far-gpu.json", "far-inf.json"}
    ran = far.run("--accel-strict")
    assert ran.status == 0, ran.out


# What travels


def test_a_second_run_sends_next_to_nothing(far: FarDrill, gpu_box: Box) -> None:
    far.model(operators=WEIGHTS)
    size = (far.folder / "model.fake.json").stat().st_size
    sent = [gpu_box.passed_bytes()["there"]]
    for _ in range(2):
        far.run("-k", "gpu")
        sent.append(gpu_box.passed_bytes()["there"])
    first, second = sent[1] - sent[0], sent[2] - sent[1]
    assert first > size / 3
    assert second < MOST_BYTES


def test_nothing_but_named_variables_goes_over(far: FarDrill, gpu_box: Box) -> None:
    far.environment["AWS_SECRET_ACCESS_KEY"] = "of the controller"
    with far.stopped_in("measure", gpu_box) as run:
        there = [json.dumps(process.environ()) for process in gpu_box.processes()]
        run.kill()
    assert there
    assert not any("AWS_SECRET" in each or str(far.folder) in each for each in there)


def test_no_port_is_opened(far: FarDrill, gpu_box: Box) -> None:
    with far.stopped_in("measure", gpu_box) as run:
        listening = gpu_box.run("ss --listening --tcp --udp --numeric --no-header").splitlines()
        run.kill()
    assert {line.split()[4].rpartition(":")[2] for line in listening} == {"22"}


# What works at the same time

SLEEPS = """
import time
from pytest_accel.worker.accelerators.fake import FakeAccelerator


class Sleeps(FakeAccelerator):
    def load(self, artefact, options):
        time.sleep(5.0)
        return super().load(artefact, options)
"""


TWO_HOSTS = """
import pytest

@pytest.mark.accelerator("far-inf", "far-gpu", p50_ms=50)
@pytest.mark.parametrize("number", [1, 2])
def test_model(accel_model, number):
    accel_model("model.fake.json").check()
"""


def test_two_hosts_work_at_the_same_time(far: FarDrill) -> None:
    far.write("sleeps.py", SLEEPS)
    far.write(
        "conftest.py",
        "def pytest_accel_accelerators(): return dict.fromkeys(['far-gpu', 'far-inf', 'fake'], 'sleeps:Sleeps')",
    )
    far.write("test_models.py", TWO_HOSTS)
    far.processes_at_once = True
    took_s = {}
    for chosen in ("far-gpu", "far-gpu,far-inf"):  # the other one has as much to do
        began = time.monotonic()
        ran = far.run(f"--accelerator={chosen}", anew=True)
        took_s[chosen] = time.monotonic() - began
        assert ran.outcomes.get("passed") == 2 * chosen.count("far"), ran.out
    assert took_s["far-gpu,far-inf"] < 1.2 * took_s["far-gpu"], took_s


def test_every_host_is_listed(far: FarDrill, gpu_box: Box, inf_box: Box) -> None:
    gpu_box.turn_off()
    ran = far.run("--accel-list")
    assert re.search(rf"far-inf .*{inf_box.ssh}", ran.out), ran.out
    assert re.search(rf"far-gpu .*{gpu_box.ssh}.*(No route|unreachable|timed out)", ran.out), ran.out
