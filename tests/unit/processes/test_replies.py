from __future__ import annotations

import pytest

from pytest_accel.facts.errors import WorkerError
from pytest_accel.processes.replies import valid


def test_a_reply_of_another_shape_says_whose_it_is() -> None:
    assert valid({"a": 1}, dict[str, int], "load") == {"a": 1}
    with pytest.raises(WorkerError, match=r"^me@box's reply to load is malformed: Expected `int`, got `str`") as error:
        valid({"a": "1"}, dict[str, int], "load", of="me@box")
    assert error.value.phase == "load"
