"""The builder's own options, which the option ``extra`` of an accelerator hands on: levels, limits and flags.

What decides a precision is not among them, nor what would leave an engine that cannot be run alone. A release may lack
some of them, and then an entry is refused.
"""

from __future__ import annotations

from typing import Any, Mapping

from pytest_accel.worker.accelerator import Option, Refused

#: _NUMBERS are attributes of a builder's configuration.
_NUMBERS = {
    "builder_optimization_level": Option(int, choices=(0, 1, 2, 3, 4, 5)),
    "avg_timing_iterations": Option(int, minimum=1),
    "max_aux_streams": Option(int, minimum=0),
    "max_num_tactics": Option(int, minimum=1),
    "l2_limit_for_tiling": Option(int, minimum=0),
}
#: _NAMES are attributes that take a member of an enum, of which this is the name and these are the members.
_NAMES = {
    "tiling_optimization_level": ("TilingOptimizationLevel", Option(str, choices=("none", "fast", "moderate", "full"))),
    "hardware_compatibility_level": (
        "HardwareCompatibilityLevel",
        Option(str, choices=("none", "ampere_plus", "same_compute_capability")),
    ),
}
#: _FLAGS are members of ``BuilderFlag``, in small letters.
_FLAGS = (
    "direct_io",
    "disable_compilation_cache",
    "disable_timing_cache",
    "distributive_independence",
    "enable_tactic_heuristic",
    "obey_precision_constraints",
    "prefer_precision_constraints",
    "refit",
    "reject_empty_algorithms",
    "sparse_weights",
    "strict_nans",
)
#: ENTRIES are what ``extra`` takes.
ENTRIES: Mapping[str, Option] = {
    **_NUMBERS,
    **{name: option for name, (_, option) in _NAMES.items()},
    **{name: Option(bool) for name in _FLAGS},
}


def apply(config: Any, extra: Mapping[str, Any], tensorrt: Any) -> None:
    """Set the entries of ``extra``. Raises `Refused` where this release has no such option, or does not take it."""
    for name, value in extra.items():
        if name in _FLAGS:
            _set_flag(config, name, value, tensorrt)
        else:
            _set_attribute(config, name, _member(name, value, tensorrt) if name in _NAMES else value, tensorrt)


def _set_flag(config: Any, name: str, wanted: bool, tensorrt: Any) -> None:
    flag = getattr(tensorrt.BuilderFlag, name.upper(), None)
    if flag is None:
        raise _absent(name, tensorrt)
    (config.set_flag if wanted else config.clear_flag)(flag)


def _set_attribute(config: Any, name: str, value: Any, tensorrt: Any) -> None:
    if not hasattr(config, name):
        raise _absent(name, tensorrt)
    setattr(config, name, value)
    if (taken := getattr(config, name)) != value:  # which only the log would tell
        raise Refused(f"extra: release {tensorrt.__version__} took {taken} and not {value} for {name!r}")


def _member(name: str, value: str, tensorrt: Any) -> Any:
    kind, _ = _NAMES[name]
    member = getattr(getattr(tensorrt, kind, None), value.upper(), None)
    if member is None:
        raise _absent(f"{name}={value}", tensorrt)
    return member


def _absent(name: str, tensorrt: Any) -> Refused:
    return Refused(f"extra: release {tensorrt.__version__} has no {name!r}: leave it out, or use another one")
