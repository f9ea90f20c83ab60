"""The bed of the session, boxes that each test finds as good as new, and drills on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.conftest import pytest_runtest_makereport as pytest_runtest_makereport
from tests.drills.conftest import run_server as run_server
from tests.hosts.bed import Bed, CannotBeHad, open_bed
from tests.hosts.box import Box
from tests.hosts.far_drill import FarDrill
from tests.plugin.forked_runs import RunServer


@pytest.fixture(scope="session")
def session_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    try:
        with open_bed(tmp_path_factory.mktemp("bed")) as made:
            yield made
    except CannotBeHad as error:
        pytest.skip(str(error))


@pytest.fixture
def bed(session_bed: Bed) -> Iterator[Bed]:
    """The bed, whose boxes are on, with sound cables and as new: the test may do to them what it likes."""
    yield session_bed
    for box in session_bed.boxes.values():
        box.renew()


@pytest.fixture
def gpu_box(bed: Bed) -> Box:
    return bed.boxes["gpu-box"]


@pytest.fixture
def inf_box(bed: Bed) -> Box:
    return bed.boxes["inf-box"]


@pytest.fixture
def far(bed: Bed, tmp_path: Path, run_server: RunServer) -> FarDrill:
    return FarDrill(tmp_path, run_server, bed)
