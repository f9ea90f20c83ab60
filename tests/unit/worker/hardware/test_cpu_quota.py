from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_accel.worker.hardware.cpu_quota import cpu_quota_cores
from tests.unit.worker.host.machines import machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/pod/box\n", "sys/fs/cgroup/pod/box/cpu.max": "150000 100000"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/cpu.max": "50000 100000",
                "sys/fs/cgroup/pod/box/cpu.max": "150000 100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "5:cpuset:/\n4:cpu,cpuacct:/docker/7f\n0::/\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
    ids=["no-cgroups", "no-file", "v2-max", "v2", "v2-ancestor", "v1-in-container", "v1-unlimited"],
)
def test_the_cpu_quota_is_the_tightest_of_all_groups(
    tmp_path: Path, files: dict[str, str], expected: float | None
) -> None:
    assert cpu_quota_cores(machine(tmp_path, files)) == expected
