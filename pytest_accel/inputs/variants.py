"""From markers to variants: what ``@pytest.mark.accelerator(...)`` may say, and what it expands to.

All checks happen at collection, against the options that each accelerator declares; nothing is imported but the
accelerator's own module, and no SDK.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

import msgspec

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.records import Budgets, Variant
from pytest_accel.inputs.registry import Registry, nearest

if TYPE_CHECKING:
    from pytest_accel.facts.fact import OptionValue, Scalar
    from pytest_accel.worker.accelerator import Option

BUDGETS: tuple[str, ...] = Budgets.__struct_fields__
#: _SHARES are budgets that are shares of one, so that 5 for 5 % is an error; the rest are positive numbers.
_SHARES = frozenset({"max_accuracy_drop", "min_accuracy", "min_on_device", "max_regression", "max_creep"})

#: ON_COMPILE_ERROR is what a marker may ask for where a compiler refuses a variant.
ON_COMPILE_ERROR = ("fail", "xfail", "record")
#: _LONGEST_SHOWN is the number of characters of a wrong value that an error shows.
_LONGEST_SHOWN = 60
#: _Size is a dimension of made-up inputs.
_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_PLAN_KEYWORDS = ("input_shapes", "on_compile_error", "prune")


@dataclass(frozen=True)
class Plan:
    """What one parametrised test is to do: a variant and its budgets.

    ``input_shapes`` gives dynamic dimensions of made-up inputs, without the batch: ``{"tokens": (128,)}``. ``prune``
    allows to leave the variant out once a smaller batch has broken its latency limit.
    """

    variant: Variant
    budgets: Budgets
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    on_compile_error: str = "fail"
    prune: bool = False

    def override(self, keywords: Mapping[str, Any], registry: Registry) -> Plan:
        """Return the same plan with other options or budgets; a list of values makes no sense here."""
        spelled = {name: self.variant.options[name] for name in self.variant.named}
        given = {name: value for name in BUDGETS if (value := getattr(self.budgets, name)) is not None}
        plan = {keyword: getattr(self, keyword) for keyword in _PLAN_KEYWORDS}
        merged = {**spelled, **given, **plan, **keywords}
        many = [name for name, value in keywords.items() if isinstance(value, list)]
        if many:
            raise UsageError(f"{many[0]}={keywords[many[0]]!r}: one value here; lists make variants in the marker")
        (single,) = expand_marker((self.variant.accelerator,), merged, registry)
        return single


def expand_marker(names: Sequence[Any], keywords: Mapping[str, Any], registry: Registry) -> Iterator[Plan]:
    """Yield every plan that one marker stands for: its accelerators times the product of its list values."""
    if not names:
        raise UsageError("the accelerator marker needs a name, for example @pytest.mark.accelerator('cpu')")
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"the accelerator marker takes names, got {name!r}")
        yield from _expand(name, keywords, registry)


def _expand(name: str, keywords: Mapping[str, Any], registry: Registry) -> Iterator[Plan]:
    accelerator = registry.find(name)
    options = accelerator.options()
    valid = [*options, *BUDGETS, *_PLAN_KEYWORDS]
    for keyword in keywords:
        if keyword not in valid:
            gone = accelerator.former_options.get(keyword)
            raise UsageError(
                f"accelerator {name!r} has no option or budget {keyword!r}"
                f"{nearest(keyword, valid) if gone is None else f': {gone}.'} "
                f"Options: {', '.join(sorted(options))}. Budgets: {', '.join(BUDGETS)}."
            )
    budgets = _budgets({key: value for key, value in keywords.items() if key in BUDGETS})
    on_compile_error = _one_of("on_compile_error", keywords.get("on_compile_error", "fail"), ON_COMPILE_ERROR)
    input_shapes = _input_shapes(keywords.get("input_shapes", {}))
    prune = _one_of("prune", keywords.get("prune", False), (False, True))
    if prune and not budgets.latency_limits_ms:
        raise UsageError("prune=True needs a latency limit that a smaller batch can break, for example p99_ms=15")
    named = tuple(keyword for keyword in keywords if keyword in options)
    axes = [_values(keyword, keywords[keyword]) for keyword in named]
    for choice in itertools.product(*axes):
        spelled = {
            keyword: check_option(name, keyword, options[keyword], value)
            for keyword, value in zip(named, choice, strict=True)
        }
        complete = {**{keyword: option.default for keyword, option in options.items()}, **spelled}
        if (why := _unfit_load(complete, budgets, concurrent=accelerator.concurrent)) is not None:
            raise UsageError(f"accelerator {name!r}: {why}")
        if (why := accelerator.impossible(complete)) is not None:
            raise UsageError(f"accelerator {name!r} with {spelled}: {why}")
        variant = Variant(accelerator=name, options=complete, named=named)
        yield Plan(variant, budgets, input_shapes, on_compile_error, prune)


def _unfit_load(options: Mapping[str, Any], budgets: Budgets, *, concurrent: bool) -> str | None:
    """Return why calls cannot be issued like this, or None."""
    shape, concurrency, rate = options["load_shape"], options["concurrency"], options["rate"]
    side_by_side = shape in ("multi_stream", "server")
    reasons = {
        f"load_shape={shape!r} is not possible, because it runs one call at a time; use 'single_stream' or 'offline'": (
            side_by_side and not concurrent
        ),
        f"concurrency={concurrency} has no meaning for load_shape={shape!r}; use 'multi_stream' or 'server'": (
            concurrency > 1 and not side_by_side
        ),
        "load_shape='multi_stream' keeps several calls in flight: say how many, for example concurrency=2": (
            shape == "multi_stream" and concurrency == 1
        ),
        f"rate={rate} has no meaning for load_shape={shape!r}; use 'server'": rate is not None and shape != "server",
        "load_shape='offline' measures throughput alone; judge latency with 'single_stream'": (
            shape == "offline" and bool(budgets.latency_limits_ms)
        ),
        "load_shape='server' serves the rate it is asked for, which is judged anyway: leave min_throughput out": (
            shape == "server" and budgets.min_throughput is not None
        ),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def check_option(accelerator: str, name: str, option: Option, value: Any) -> OptionValue:
    """Return the value if the option takes it. Raises `UsageError` that names what it does take."""
    if value is None and option.default is None:
        return None
    where = f"accelerator {accelerator!r}: {name}={shown(value)}"
    wrong_bool = isinstance(value, bool) and option.type is not bool
    if wrong_bool or not isinstance(value, (int, float) if option.type is float else option.type):
        raise UsageError(f"{where} must be of type {option.type.__name__}")
    _require_writable(where, value)
    if option.choices and value not in option.choices:
        hint = nearest(str(value), [str(choice) for choice in option.choices])
        raise UsageError(f"{where} is none of {', '.join(map(repr, option.choices))}{hint}")
    if option.minimum is not None and isinstance(value, int | float) and value < option.minimum:
        raise UsageError(f"{where} must be at least {option.minimum:g}")
    if isinstance(value, dict):
        return {entry: _check_entry(accelerator, name, option, entry, value[entry]) for entry in sorted(value, key=str)}
    checked: Scalar = option.type(value)
    return checked


def _check_entry(accelerator: str, name: str, option: Option, entry: Any, value: Any) -> Scalar:
    """Return the value of one entry of an option if the option takes it."""
    where, entries = f"accelerator {accelerator!r}: {name}", option.entries
    if not isinstance(entry, str) or not entry or not _is_text(entry):
        raise UsageError(f"{where} has an entry {shown(entry)}, which is no name")
    if entries and entry not in entries:
        raise UsageError(f"{where} has no entry {shown(entry)}{nearest(entry, entries)} Entries: {', '.join(entries)}.")
    kind = next((kind for kind in (bool, int, float, str) if isinstance(value, kind)), None)
    if kind is None:
        raise UsageError(f"{where}[{entry!r}]={shown(value)} must be a number, a text or a bool")
    if entries:
        return cast("Scalar", check_option(accelerator, f"{name}[{entry!r}]", entries[entry], value))
    _require_writable(f"{where}[{entry!r}]={shown(value)}", value)
    plain: Scalar = kind(value)
    return plain


def _require_writable(where: str, value: Any) -> None:
    if isinstance(value, int | float) and not is_finite(value):
        raise UsageError(f"{where} must be a finite number")
    if isinstance(value, str) and not _is_text(value):
        raise UsageError(f"{where} has half of a character, which no file can hold")


def _values(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [value]
    if not value:
        raise UsageError(f"{name}=[] makes no variant at all; give at least one value")
    if any(_among(each, value[:at]) for at, each in enumerate(value)):
        raise UsageError(f"{name}={value!r} names a value twice")
    return list(value)


def _among(value: Any, others: Sequence[Any]) -> bool:
    """Return whether one of the others is the same, and of one type: 1 is not True."""
    try:
        return any(type(value) is type(other) and bool(value == other) for other in others)
    except ValueError:  # arrays have an answer for each element
        return False


def _one_of(name: str, value: Any, valid: tuple[Any, ...]) -> Any:
    if not _among(value, valid):
        raise UsageError(
            f"{name}={shown(value)} is none of {', '.join(map(repr, valid))}{nearest(str(value), map(str, valid))}"
        )
    return value


def _input_shapes(value: Any) -> dict[str, tuple[int, ...]]:
    try:
        if not isinstance(value, Mapping):
            raise msgspec.ValidationError("no dict")
        return msgspec.convert(dict(value), dict[str, tuple[_Size, ...]])
    except msgspec.ValidationError as error:
        raise UsageError(
            f"input_shapes={shown(value)} must map input names to shapes without the batch, "
            f"such as {{'tokens': (128,)}}: {error}"
        ) from None


def _budgets(given: Mapping[str, Any]) -> Budgets:
    return Budgets(**{name: None if value is None else _budget(name, value) for name, value in given.items()})


def _budget(name: str, given: Any) -> int | float:
    """Return a budget as a plain number: NumPy's, or one that was measured, cannot be written into a record."""
    if isinstance(given, bool) or not isinstance(given, numbers.Real) or not is_finite(given) or float(given) < 0:
        raise UsageError(f"budget {name}={shown(given)} must be a number that is not negative")
    value = int(given) if isinstance(given, numbers.Integral) else float(given)
    if name in _SHARES and value > 1:
        raise UsageError(f"budget {name}={value!r} is a share, so at most 1: {value / 100:g} means {value:g} %")
    if name.endswith(("_ms", "_mb", "_s", "throughput")) and value == 0:
        raise UsageError(f"budget {name}=0 can never be met")
    return value


def is_finite(number: Any) -> bool:
    """Return whether a number is one that a float can be."""
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _is_text(value: str) -> bool:
    """Return whether a text can be written down: half of a surrogate pair cannot."""
    return value.encode("utf-8", "replace").decode("utf-8") == value


def shown(value: object) -> str:
    """Return a value as it is spelled, cut off where nobody would read on."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def check_budgets(budgets: Budgets, keywords: Mapping[str, Any]) -> Budgets:
    """``budgets`` with those of a call in their place; unknown names are a `UsageError`."""
    for keyword in keywords:
        if keyword not in BUDGETS:
            raise UsageError(f"unknown budget {keyword!r}{nearest(keyword, BUDGETS)} Budgets: {', '.join(BUDGETS)}.")
    return msgspec.structs.replace(budgets, **{name: getattr(_budgets(keywords), name) for name in keywords})


def with_defaults(budgets: Budgets, defaults: Mapping[str, float]) -> Budgets:
    """``budgets`` with the project's defaults where a test says nothing."""
    missing = {name: value for name, value in defaults.items() if getattr(budgets, name) is None}
    return msgspec.structs.replace(budgets, **missing) if missing else budgets
