"""Workers that import TensorFlow are forked where a module asks for it, so that it is imported once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_accel.processes import process
from tests.plugin.forked_tensorflow import forked_by
from tests.plugin.forked_tensorflow import tensorflow_servers as tensorflow_servers

if TYPE_CHECKING:
    from tests.plugin.forked_tensorflow import TensorFlowServers


@pytest.fixture(scope="module")
def forked_workers(tensorflow_servers: TensorFlowServers) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "Worker", forked_by(tensorflow_servers.here))
        yield
