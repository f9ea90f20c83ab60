"""Write the lines of ``--accel-selftest``: whether the regression gate works, and what to do if not."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_accel.regression.selftest import Proof, Unproven


def describe(proof: Proof | Unproven, host: str = "") -> Iterator[str]:
    """Give the rates, the smallest slowdown that would be caught, and what to do about wrong answers.

    ``host`` is the machine that the accelerator is on, and is empty for this one.
    """
    name = f"{proof.accelerator} on {host}" if host else proof.accelerator
    if not isinstance(proof, Proof):
        yield f"{name} not proven: {proof.reason}"
        return
    yield (
        f"{name} {'holds' if proof.holds else 'cannot hold'}: "
        f"{proof.green} of {len(proof.unchanged)} unchanged stayed green, "
        f"{proof.red} of {len(proof.slowed)} with {100 * proof.extra_work:g} % more work turned red"
    )
    if proof.smallest_caught is not None:
        yield f"  the smallest slowdown that would have been caught: {proof.smallest_caught:.1%}"
    if proof.green < len(proof.unchanged):
        yield "  something here slows one of two equal processes down: judge no regressions before it is found"
    if proof.red < len(proof.slowed):
        yield "  too noisy now: find a quieter time or machine, raise accel_compare_budget, or tolerate more"
