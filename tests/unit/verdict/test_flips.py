from __future__ import annotations

from pytest_accel.verdict.flips import flips_since
from tests.unit.measuring.test_output_comparison import compare, scores


def test_flips_since_the_baseline_are_paired() -> None:
    labels = [0] * 10
    then = compare(scores([0] * 8 + [1] * 2), scores([0] * 10), labels)
    now = compare(scores([1] * 3 + [0] * 7), scores([0] * 10), labels)
    assert flips_since(then, now) == (3, 2)


def test_flips_need_the_same_dataset_and_answers() -> None:
    now = compare(scores([0, 1]), scores([0, 1]), [0, 1])
    assert flips_since(compare(scores([0]), scores([0]), [0]), now) is None
    assert flips_since(compare(scores([0, 1]), scores([0, 1])), now) is None
