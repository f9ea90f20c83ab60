from __future__ import annotations

from pathlib import Path

import pytest

from pytest_accel.facts.settings import Host, Settings
from pytest_accel.plugin.hosts import group_of, groups


@pytest.mark.parametrize(
    ("ssh", "group"),
    [
        ("gpu-box", "gpu-box"),
        ("me@gpu-box", "gpu-box"),
        ("you@gpu-box.lab.example", "gpu-box.lab.example"),
        ("-p 2222 me@127.0.0.1", "-p-2222-127.0.0.1"),
    ],
)
def test_the_users_of_a_host_are_one_group_and_ports_are_several(ssh: str, group: str) -> None:
    assert group_of(Host(ssh)) == group


def test_two_interpreters_on_one_host_are_one_group_and_what_a_run_leaves_out_is_none() -> None:
    hosts = {"gpu": Host("a", "/tf/python"), "gpu-trt": Host("me@a", "/trt/python"), "inf1": Host("b")}
    settings = Settings(rootdir=Path(), baseline_dir=Path(), hosts=hosts)
    assert groups(settings) == {"a", "b"}
    only = Settings(rootdir=Path(), baseline_dir=Path(), hosts=hosts, accelerators=("cpu", "gpu-trt"))
    assert groups(only) == {"a"}
