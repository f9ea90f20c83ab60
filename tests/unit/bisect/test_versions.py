from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from pytest_accel.bisect.versions import Span, Versions, offered_versions
from pytest_accel.facts.errors import AccelError, UsageError
from tests.unit.bisect.wheels import PACKAGE, VERSIONS, offer, write_wheel


def test_a_span_is_a_package_and_two_ends() -> None:
    assert Span.read("Onnx_Runtime==1.22..1.32.0") == ("onnx-runtime", Version("1.22"), Version("1.32.0"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onnxruntime", "write it so: --package=onnxruntime==1.22.0..1.27.1"),
        ("onnxruntime==1.22.0", "write it so"),
        ("onnxruntime==1.22.0..", "write it so"),
        ("onnxruntime==one..2", "Invalid version: 'one'"),
        ("-x==1..2", "--package=-x==1..2: "),
        ("onnxruntime==2..1", "the good version has to be older than the bad one"),
        ("onnxruntime==1.0..1", "the good version has to be older"),
    ],
)
def test_spans_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        Span.read(text)
    assert message in str(raised.value)
    assert text in str(raised.value)


def test_pip_offers_versions_in_their_own_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch)
    found = offered_versions(Span.read(f"{PACKAGE}==1.2..1.10.0"))
    assert (found.package, found.versions) == (PACKAGE, VERSIONS[1:])
    assert (found.good, found.bad, found.before("1.10.0")) == ("1.2.0", "1.10.0", ["1.9.0"])
    assert found.shown("1.9.0") == f"{PACKAGE} 1.9.0"


def test_a_version_before_a_release_is_asked_for_by_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch)
    for version in ("1.9.5rc1", "2.0rc1"):
        write_wheel(tmp_path, version)
    assert offered_versions(Span.read(f"{PACKAGE}==1.9.0..1.10.0")).versions == ("1.9.0", "1.10.0")
    found = offered_versions(Span.read(f"{PACKAGE}==1.9.0..2.0rc1"))
    assert found.versions == ("1.9.0", "1.9.5rc1", "1.10.0", "2.0rc1")


def test_an_end_that_is_not_offered_is_named_beside_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(tmp_path, monkeypatch)
    with pytest.raises(UsageError, match=r"offers no quickmath 1\.9\.1 for this Python; close to it are 1\.10\.0, "):
        offered_versions(Span.read(f"{PACKAGE}==1.2.0..1.9.1"))


def test_a_package_that_pip_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch)
    with pytest.raises(AccelError, match=r"^pip cannot tell the versions of nothing-here: ERROR: .*nothing-here"):
        offered_versions(Span.read("nothing-here==1..2"))


def test_the_middle_comes_first_and_the_bad_end_last() -> None:
    versions = Versions(PACKAGE, VERSIONS)
    order = "1.5.0 1.6.0 1.4.0 1.7.0 1.3.0 1.8.0 1.2.0 1.9.0 1.10.0"
    assert versions.suspects(["1.1.0"], "1.10.0") == order.split()
    assert versions.suspects(["1.1.0", "1.6.0", "1.3.0"], "1.8.0") == ["1.7.0", "1.8.0"]
    assert versions.suspects(["1.7.0"], "1.8.0") == ["1.8.0"]
