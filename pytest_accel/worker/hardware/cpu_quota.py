"""How many cores the control groups of Linux leave to this process. Reads versions 1 and 2, below a ``root``."""

from __future__ import annotations

import os
from typing import Iterator, Optional

from pytest_accel.worker.kernel_files import Path, read


def cpu_quota_cores(root: Path = "/") -> Optional[float]:
    """The cores that this process's control groups allow, None where they allow all."""
    limits = (_v2_limit(group) or _v1_limit(group) for group in cpu_groups(root))
    return min((limit for limit in limits if limit is not None), default=None)


def cpu_groups(root: Path = "/") -> Iterator[str]:
    """The folders of the control groups that share out the CPU to this process, each with its ancestors."""
    for line in read(root, "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = os.path.join(root, "sys/fs/cgroup", controllers).rstrip("/")
        group = os.path.join(mount, path.strip("/")).rstrip("/")
        # Each ancestor's limit holds too. Inside a container the path may be the host's, where only the mount exists.
        while group != mount:
            yield group
            group = os.path.dirname(group)
        yield mount


def _v2_limit(group: str) -> Optional[float]:
    quota, _, period = read(group, "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


def _v1_limit(group: str) -> Optional[float]:
    quota, period = read(group, "cpu.cfs_quota_us"), read(group, "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() else None
