from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from pytest_accel.inputs.registry import Registry
from pytest_accel.session.compile_target import target_of, under_test, why_not_compiled
from pytest_accel.testing import FakeAccelerator
from pytest_accel.worker.accelerator import Missing, Present, Refused, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.conftest import Workshop


class Compiler(FakeAccelerator):
    """Compiles for what the option ``cores`` names, wherever that is."""

    def probe(self) -> Present | Missing:
        return Missing("no-hardware", "no device", "get one")

    def versions(self) -> dict[str, str]:
        raise AssertionError("asked for the driver's version without a device")

    def target(self, options: Mapping[str, Any]) -> Target | Missing:
        if options["cores"] == 3:
            raise Refused("there is no device of 3 cores")
        if options["cores"] == 2:
            return Missing("no-sdk", "the compiler is not installed", "install it")
        return Target("one core", {"compiler": "7"}) if options["cores"] == 1 else super().target(options)


class Forwarder(FakeAccelerator):
    def target(self, options: Mapping[str, Any]) -> Target | Missing:
        return Missing("nothing-to-compile", "it takes the model as it is", "leave it out")


@pytest.fixture
def compiling(workshop: Workshop) -> Workshop:
    """A run that only compiles, where the device of ``fake`` is absent and that of ``forwarder`` is here."""
    workshop.registry = Registry({"fake": f"{__name__}:Compiler", "forwarder": f"{__name__}:Forwarder"})
    workshop.start_again(compile_only=True)
    return workshop


@pytest.mark.parametrize(
    ("cores", "why_not"),
    [
        (1, None),
        (2, "the compiler is not installed; install it"),
        (3, None),
        (4, "the compiler of fake needs the device: no device; get one"),
    ],
    ids=["compiles", "without compiler", "refused when it compiles", "needs the device"],
)
def test_why_a_variant_is_not_compiled_is_told(compiling: Workshop, cores: int, why_not: str | None) -> None:
    assert why_not_compiled(compiling.session, compiling.variant(cores=cores)) == why_not


def test_what_takes_a_model_as_it_is_is_not_compiled_beside_its_device(compiling: Workshop) -> None:
    variant = replace(compiling.variant(), accelerator="forwarder")
    assert compiling.session.absence("forwarder") is None
    assert why_not_compiled(compiling.session, variant) == "it takes the model as it is; leave it out"


def test_a_compiler_beside_its_device_compiles(workshop: Workshop) -> None:
    assert why_not_compiled(workshop.session, workshop.variant()) is None
    assert target_of(workshop.session, workshop.variant()) is None


def test_a_compiler_is_asked_once_for_each_choice_of_options(compiling: Workshop) -> None:
    for cores in (1, 1, 2, 1):
        target_of(compiling.session, compiling.variant(cores=cores))
    assert compiling.count("target") == 2


def test_without_the_device_a_record_has_this_machine_and_the_compilers_versions(compiling: Workshop) -> None:
    hardware, versions = under_test(compiling.session, compiling.variant())
    assert versions == {"compiler": "7"}
    assert hardware.identity["device"] == hardware.identity["cpu"]
    assert under_test(compiling.session, compiling.variant(cores=3)) == (hardware, {})
    compiling.start_again()
    with pytest.raises(LookupError, match="fake is not here"):
        under_test(compiling.session, compiling.variant())
