from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Budgets, Variant
from pytest_accel.inputs.registry import Registry
from pytest_accel.inputs.variants import Plan, check_budgets, check_option, expand_marker, with_defaults
from pytest_accel.measuring.results import Bounded
from pytest_accel.testing import FAKE, FakeAccelerator
from pytest_accel.worker.accelerator import Option


class Picky(FakeAccelerator):
    """Cannot do everything at once."""

    @classmethod
    def impossible(cls, options: Mapping[str, Any]) -> str | None:
        return "int8 needs batch_size=1" if options["precision"] == "int8" and options["batch_size"] > 1 else None


REGISTRY = Registry({"fake": FAKE, "picky": f"{__name__}:{Picky.__name__}"})


def plan(*names: str, **keywords: Any) -> Plan:
    (single,) = expand_marker(names or ("fake",), keywords, REGISTRY)
    return single


def test_options_are_complete_and_only_spelled_ones_are_named() -> None:
    variant = plan(batch_size=8, p99_ms=7).variant
    defaults = {name: option.default for name, option in FakeAccelerator.options().items()}
    assert variant.options == {**defaults, "batch_size": 8}
    assert variant.named == ("batch_size",)


def test_a_combination_that_can_never_work_is_refused_with_the_reason() -> None:
    assert plan("picky", precision="int8").variant.id == "picky-int8"
    with pytest.raises(UsageError, match=r"'picky' with .*'batch_size': 8.*: int8 needs batch_size=1"):
        list(expand_marker(("picky",), {"precision": ["fp32", "int8"], "batch_size": 8}, REGISTRY))


def test_an_override_replaces_what_it_names_and_keeps_the_rest() -> None:
    marker = plan(batch_size=8, p99_ms=7, p50_ms=3, input_shapes={"x": (4,)}, on_compile_error="xfail", prune=True)
    changed = marker.override({"precision": "int8", "p99_ms": 9}, REGISTRY)
    assert changed.variant.id == "fake-int8-b8"
    assert changed.budgets == Budgets(p99_ms=9, p50_ms=3)
    assert (changed.input_shapes, changed.on_compile_error, changed.prune) == ({"x": (4,)}, "xfail", True)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"batch_size": [1, 8]}, r"batch_size=\[1, 8\]: one value here; lists make variants in the marker"),
        ({"p9_ms": 1}, "has no option or budget 'p9_ms', did you mean 'p99_ms'"),
        ({"batch_size": 0}, "must be at least 1"),
    ],
)
def test_an_override_is_checked_like_a_marker(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan().override(keywords, REGISTRY)


@pytest.mark.parametrize(
    ("option", "value", "checked"),
    [
        (Option(float, 0.5), 2, 2.0),
        (Option(int, None), None, None),
        (Option(bool, False), True, True),
        (Option(int, 0, minimum=0), 0, 0),
    ],
)
def test_an_option_takes_what_fits(option: Option, value: Any, checked: Any) -> None:
    found = check_option("fake", "name", option, value)
    assert (found, type(found)) == (checked, type(checked))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (Option(float, 0.5), True, "name=True must be of type float"),
        (Option(int, 1), 1.0, "name=1.0 must be of type int"),
        (Option(int, 1), None, "name=None must be of type int"),
        (Option(bool, False), 1, "name=1 must be of type bool"),
        (Option(str, None), 5, "name=5 must be of type str"),
        (Option(float, 1.0, minimum=0.5), 0.25, "name=0.25 must be at least 0.5"),
        (Option(float, 1.0), 10**400, r"name=10{59}\.\.\. must be a finite number"),
        (Option(int, 1), 10**400, "must be a finite number"),
        (Option(float, 1.0), float("nan"), "name=nan must be a finite number"),
        (Option(float, 1.0, minimum=0.5), float("inf"), "name=inf must be a finite number"),
        (Option(str, "a", choices=("a", "b")), "c", "name='c' is none of 'a', 'b'"),
    ],
)
def test_an_option_refuses_what_does_not(option: Option, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_option("fake", "name", option, value)


def test_budgets_of_a_call_replace_those_of_the_marker() -> None:
    assert check_budgets(Budgets(p99_ms=7, p50_ms=3), {"p99_ms": 9}) == Budgets(p99_ms=9, p50_ms=3)
    assert check_budgets(Budgets(p99_ms=7), {"p99_ms": None}) == Budgets()


@pytest.mark.parametrize("value", [np.float64(5), np.float32(5), np.int64(5), Bounded(5, name="p99", bound="")])
def test_a_budget_of_another_class_of_number_becomes_one_that_a_record_can_hold(value: Any) -> None:
    budgets = check_budgets(Budgets(), {"p99_ms": value})
    assert msgspec.json.decode(msgspec.json.encode(budgets), type=Budgets) == Budgets(p99_ms=5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"p99": 5}, r"unknown budget 'p99', did you mean 'p99_ms'\? Budgets: p50_ms, "),
        ({"max_accuracy_drop": 1.1}, "is a share, so at most 1: 0.011 means 1.1 %"),
        ({"max_regression": 5}, "is a share, so at most 1: 0.05 means 5 %"),
        ({"min_throughput": 0}, "can never be met"),
        ({"max_load_s": float("inf")}, "must be a number"),
        ({"max_load_s": 10**400}, r"budget max_load_s=10{59}\.\.\. must be a number that is not negative"),
        ({"p99_ms": -(10**400)}, "must be a number"),
        ({"p99_ms": float("nan")}, "must be a number"),
    ],
)
def test_budgets_of_a_call_are_checked(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_budgets(Budgets(), given)


def test_no_drop_at_all_is_a_budget() -> None:
    assert check_budgets(Budgets(), {"max_accuracy_drop": 0, "max_flips": 0}) == Budgets(
        max_accuracy_drop=0, max_flips=0
    )


def test_defaults_fill_only_what_is_not_said() -> None:
    defaults = {"max_regression": 0.1, "min_on_device": 0.9}
    assert with_defaults(Budgets(max_regression=0), defaults) == Budgets(max_regression=0, min_on_device=0.9)


def test_values_of_a_list_may_be_of_any_kind_before_they_are_checked() -> None:
    registry = Registry({"fake": FAKE})
    with pytest.raises(UsageError, match=r"batch_size=\[1\] must be of type int"):
        list(expand_marker(("fake",), {"batch_size": [[1], [2]]}, registry))
    with pytest.raises(UsageError, match="names a value twice"):
        list(expand_marker(("fake",), {"batch_size": [[1], [1]]}, registry))


def test_a_number_that_python_does_not_write_is_refused_in_words() -> None:
    huge = 10**5000
    with pytest.raises(UsageError, match="name=a number of thousands of digits must be a finite number"):
        check_option("fake", "name", Option(int, 1), huge)
    with pytest.raises(UsageError, match="budget max_flips=a number of thousands of digits must be a number"):
        check_budgets(Budgets(), {"max_flips": huge})


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"input_shapes": np.float32(0.5)}, r"input_shapes=.*0\.5.* must map input names to shapes"),
        ({"input_shapes": {"x": (0,)}}, "must map input names to shapes .*Expected `int` >= 1"),
        ({"input_shapes": {"x": (2**40,)}}, "must map input names to shapes .*Expected `int` <= 2147483647"),
        ({"input_shapes": {1: (2,)}}, "must map input names to shapes"),
        ({"prune": np.array([1, 2])}, r"prune=array\(\[1, 2\]\) is none of False, True"),
        ({"prune": 1}, "prune=1 is none of False, True"),
        ({"cores": [np.array([1, 2]), np.array([1, 2])]}, r"cores=array\(\[1, 2\]\) must be of type int"),
        ({"signature": "\ud800"}, r"signature='\\ud800' has half of a character, which no file can hold"),
        ({"rate": float("nan"), "load_shape": "server"}, "rate=nan must be a finite number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_nobody_would_give_are_refused_in_words(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(expand_marker(("fake",), keywords, Registry({"fake": FAKE})))


class Open(FakeAccelerator):
    """Hands entries of any name to its compiler."""

    own_options: ClassVar[Mapping[str, Option]] = {**FakeAccelerator.own_options, "extra": Option(dict, {}, doc="any")}


class Choosy(FakeAccelerator):
    """Knows the entries that its compiler takes."""

    own_options: ClassVar[Mapping[str, Option]] = {
        **FakeAccelerator.own_options,
        "extra": Option(
            dict,
            {},
            entries={"level": Option(int, choices=(0, 1, 2)), "sparse": Option(bool), "kernel": Option(str)},
        ),
    }


EXTRA = Registry({"open": f"{__name__}:{Open.__name__}", "choosy": f"{__name__}:{Choosy.__name__}"})


def extra_of(name: str, value: Any) -> Any:
    (single,) = expand_marker((name,), {"extra": value}, EXTRA)
    return single.variant.options["extra"]


def test_entries_of_an_option_are_plain_values_in_the_order_of_their_names() -> None:
    given = extra_of("open", {"optlevel": np.float64(2), "auto-cast": "all", "verbose": True})
    assert given == {"auto-cast": "all", "optlevel": 2.0, "verbose": True}
    assert [*given] == ["auto-cast", "optlevel", "verbose"]
    assert type(given["optlevel"]) is float
    assert [plan.variant.options["extra"] for plan in expand_marker(("open",), {}, EXTRA)] == [{}]


def test_each_entry_is_a_part_of_the_id_and_a_list_makes_variants() -> None:
    found = expand_marker(("choosy",), {"extra": [{}, {"sparse": False, "level": 2}, {"kernel": "A b"}]}, EXTRA)
    assert [plan.variant.id for plan in found] == ["choosy", "choosy-level2-no_sparse", "choosy-kernelA_b"]


def test_an_option_with_entries_can_be_replaced_in_a_call() -> None:
    (marker,) = expand_marker(("choosy",), {"extra": {"level": 1}, "batch_size": 2}, EXTRA)
    assert marker.override({"extra": {"sparse": True}}, EXTRA).variant.id == "choosy-b2-sparse"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("open", 5, "accelerator 'open': extra=5 must be of type dict"),
        ("open", None, "extra=None must be of type dict"),
        ("open", {5: 1}, "accelerator 'open': extra has an entry 5, which is no name"),
        ("open", {"": 1}, "extra has an entry '', which is no name"),
        ("open", {"level": None}, r"accelerator 'open': extra\['level'\]=None must be a number, a text or a bool"),
        ("open", {"level": [1]}, r"extra\['level'\]=\[1\] must be a number, a text or a bool"),
        ("open", {"level": float("inf")}, r"accelerator 'open': extra\['level'\]=inf must be a finite number"),
        ("choosy", {"lvel": 1}, "'choosy': extra has no entry 'lvel', did you mean 'level'.* Entries: level, sparse, "),
        ("choosy", {"level": 3}, r"accelerator 'choosy': extra\['level'\]=3 is none of 0, 1, 2"),
        ("choosy", {"level": True}, r"extra\['level'\]=True must be of type int"),
        ("choosy", {"sparse": None}, r"extra\['sparse'\]=None must be a number, a text or a bool"),
        ("choosy", {"sparse": 1}, r"extra\['sparse'\]=1 must be of type bool"),
    ],
)
def test_an_entry_that_nobody_would_give_is_refused_by_its_name(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        extra_of(name, value)


def test_a_variant_with_entries_survives_a_record_and_one_of_a_single_value_takes_no_entries() -> None:
    (marker,) = expand_marker(("choosy",), {"extra": {"level": 1}}, EXTRA)
    written = msgspec.json.encode(marker.variant)
    assert msgspec.json.decode(written, type=Variant) == marker.variant
    with pytest.raises(msgspec.ValidationError, match="option 'batch_size' has entries, and takes a single value"):
        msgspec.json.decode(written.replace(b'"batch_size":1', b'"batch_size":{"level":1}'), type=Variant)
