from __future__ import annotations

import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.settings import Host
from pytest_accel.inputs.hosts import read_host, read_hosts


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("ssh=gpu-box", Host("gpu-box")),
        ("ssh=me@gpu-box//python=/opt/trt/bin/python", Host("me@gpu-box", "/opt/trt/bin/python")),
        ("ssh=-p 2222 -J jump me@10.0.0.2", Host("-p 2222 -J jump me@10.0.0.2")),
        ("python=~/bin/python // ssh = gpu-box", Host("gpu-box", "~/bin/python")),
        (
            "ssh=b//env:CUDA_VISIBLE_DEVICES=1//env:FLAGS=a=b //env:EMPTY=",
            Host("b", "python3", (("CUDA_VISIBLE_DEVICES", "1"), ("FLAGS", "a=b"), ("EMPTY", ""))),
        ),
    ],
)
def test_a_host_is_written_as_execnet_writes_it(text: str, host: Host) -> None:
    assert read_host(text) == host


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("me@gpu-box", "'me@gpu-box' is not KEY=VALUE, and // stands only between two parts"),
        ("ssh=b//python=/opt//trt", "'trt' is not KEY=VALUE"),
        ("ssh=b//", "'' is not KEY=VALUE"),
        ("ssh=b//pyhton=x", "'pyhton' is none of ssh, python, env:NAME, did you mean 'python'?"),
        ("ssh=b//chdir=/tmp", "'chdir' is none of ssh, python, env:NAME."),
        ("popen//python=x", "'popen' is not KEY=VALUE"),
        ("python=/usr/bin/python3", "it has no ssh=HOST, for example ssh=me@gpu-box"),
        ("ssh=", "'ssh=' has no value"),
        ("ssh=b//python= ", "'python= ' has no value"),
        ("ssh=-p 2222 -v", "ssh=-p 2222 -v names no host behind the options of ssh"),
        ("ssh=a//ssh=b", "ssh= is there twice"),
        ("ssh=a//env:X=1//env:X=2", "env:X= is there twice"),
        ("ssh=a//env:=1", "'' in 'env:=1' is no name of a variable"),
        ("ssh=a//env:MY-FLAG=1", "'MY-FLAG' in 'env:MY-FLAG=1' is no name of a variable"),
    ],
)
def test_the_part_that_cannot_be_right_is_quoted(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_host(text)
    assert str(raised.value).startswith(message)


def test_each_line_names_an_accelerator_and_its_host() -> None:
    lines = ["gpu-trt=ssh=me@gpu-box//python=/opt/trt/bin/python", " inf1 = ssh=inf-box"]
    assert read_hosts(lines) == {"gpu-trt": Host("me@gpu-box", "/opt/trt/bin/python"), "inf1": Host("inf-box")}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["gpu-trt"], "'gpu-trt' is not NAME=ssh=HOST, for example gpu-trt=ssh=me@gpu-box//python=/opt/trt/bin/python"),
        (["=ssh=b"], "'=ssh=b' is not NAME=ssh=HOST"),
        (["gpu-trt="], "'gpu-trt=' is not NAME=ssh=HOST"),
        (["gpu-trt=gpu-box"], "'gpu-trt=gpu-box': 'gpu-box' is not KEY=VALUE"),
        (["ssh=gpu-box"], "'ssh=gpu-box': 'gpu-box' is not KEY=VALUE"),
        (["inf1=ssh=a", "inf1=ssh=b"], "'inf1=ssh=b': inf1 has a host already, so leave one of them out"),
    ],
)
def test_a_line_that_cannot_be_right_is_quoted(lines: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_hosts(lines)
    assert str(raised.value).startswith(message)
