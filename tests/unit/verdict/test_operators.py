from __future__ import annotations

import pytest

from pytest_accel.verdict.operators import OperatorComparison, slower_operators
from pytest_accel.worker.accelerator import OperatorTime


def times(**operators_ms: float) -> list[OperatorTime]:
    """The times of operators, each named ``kind_name``."""
    return [
        OperatorTime(name, kind, ms * 1e6)
        for each, ms in operators_ms.items()
        for kind, _, name in [each.partition("_")]
    ]


def told(before: list[OperatorTime], after: list[OperatorTime], ratio: float = 1.25) -> list[str]:
    return list(slower_operators(OperatorComparison.of(before, after), ratio=ratio, opponent="the baseline"))


def test_the_three_operators_with_the_largest_difference_are_named_with_their_shares() -> None:
    before = times(Conv_a=1.2, Conv_b=2.0, Relu_c=0.5, Relu_d=0.1, MatMul_e=1.0)
    after = times(Conv_a=2.31, Conv_b=2.05, Relu_c=0.7, Relu_d=0.11, MatMul_e=0.99)
    assert told(before, after) == [
        "All operators together: 4.80 -> 6.16 ms, by the runtime's own profiler in a launch that is not judged. "
        "Most of it:",
        "  a (Conv): 1.20 -> 2.31 ms (+1.11 ms, 82 % of the slowdown)",
        "  c (Relu): 0.500 -> 0.700 ms (+0.200 ms, 15 % of the slowdown)",
        "  b (Conv): 2.00 -> 2.05 ms (+0.05 ms, 4 % of the slowdown)",
    ]


def test_an_operator_that_got_no_slower_is_not_named() -> None:
    _, *named = told(times(Conv_a=1.0, Relu_b=1.0), times(Conv_a=2.0, Relu_b=1.0))
    assert named == ["  a (Conv): 1.00 -> 2.00 ms (+1.00 ms, 100 % of the slowdown)"]


def test_an_operator_that_the_candidate_alone_has_is_said_to_be_such() -> None:
    _, *named = told(times(Conv_a=1.0, Relu_b=1.0), times(Conv_a=1.0, Relu_b=1.0, Sqrt_new=0.5))
    assert named == [
        "  new (Sqrt), in this model alone: 0.000 -> 0.500 ms (+0.500 ms, 100 % of the slowdown)",
        "Operators without a partner of their name and type, as other fusions have: 0 ms of the baseline, 0.500 ms of "
        "this model.",
    ]


def test_operators_of_other_names_are_summed_by_type() -> None:
    before = times(Conv_x1=1.0, Conv_x2=1.0, Relu_x3=1.0)
    after = times(Conv_y1=1.0, Conv_y2=1.5, Relu_y3=1.1)
    assert told(before, after)[1:] == [
        "  Conv (all whose names differ): 2.00 -> 2.50 ms (+0.50 ms, 83 % of the slowdown)",
        "  Relu (all whose names differ): 1.00 -> 1.10 ms (+0.10 ms, 17 % of the slowdown)",
        "Operators without a partner of their name and type, as other fusions have: 3.00 ms of the baseline, 3.60 ms "
        "of this model.",
    ]


def test_another_fusion_is_no_operator_that_got_slower() -> None:
    """A convolution that takes in its activation has the activation's name, and is no slower activation."""
    before = times(Conv_a=4.0, Relu_a_relu=1.0, MatMul_m=1.0)
    after = times(FusedConv_a_relu=4.4, MatMul_m=2.6)
    changes = {(change.name, change.kind): change for change in OperatorComparison.of(before, after).changes}
    assert ("a_relu", "Relu") in changes
    assert changes["a_relu", "Relu"].after_ms is None
    assert changes["a_relu", "FusedConv"].before_ms is None
    assert told(before, after)[-1].endswith("5.00 ms of the baseline, 4.40 ms of this model.")


def test_operators_without_a_name_are_no_partners() -> None:
    unnamed = [OperatorTime("", "Conv", 1e6)], [OperatorTime("", "Conv", 2e6)]
    assert told(*unnamed)[1].startswith("  Conv (all whose names differ): 1.00 -> 2.00 ms")
    some_named = [*unnamed[0], *times(Conv_x=0.5)], unnamed[1]
    assert told(*some_named)[1].startswith("  Conv (all whose names differ): 1.50 -> 2.00 ms")


@pytest.mark.parametrize(("after_ms", "named"), [(1.02, False), (0.9, False), (1.2, True)])
def test_operators_are_named_only_where_they_show_the_slowdown(after_ms: float, named: bool) -> None:
    first, *rest = told(times(Conv_a=1.0), times(Conv_a=after_ms), ratio=1.2)
    assert bool(rest) == named
    assert ("it is between the operators, or other processes hid it" in first) == (not named)


def test_a_little_without_a_partner_is_not_told() -> None:
    before, after = times(Conv_a=1.0, Cast_x=0.001), times(Conv_a=2.0, Cast_y=0.001)
    assert len(told(before, after)) == 2, "the heading and the convolution"
