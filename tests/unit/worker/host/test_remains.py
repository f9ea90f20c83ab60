from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_accel.worker.host.remains import Remains


def left(remains: Remains) -> tuple[str, Path, Path]:
    """A worker's folder, log and stacks."""
    paths = remains.prepare_worker()
    return paths["temporary"], Path(paths["log"]), Path(paths["stacks"])


def words(remains: Remains, temporary: str, *secrets: str) -> str:
    return str(remains.last_words(temporary, list(secrets))["text"])


@pytest.fixture
def remains(tmp_path: Path) -> Remains:
    return Remains(str(tmp_path / "logs"))


def test_a_short_log_is_left_alone_and_a_long_one_emptied_with_its_end_kept(remains: Remains) -> None:
    temporary, log, _ = left(remains)
    log.write_text("short")
    remains.trim_logs()
    assert log.read_text() == "short"
    log.write_text("x" * 5_000_000 + "the end")
    remains.trim_logs()
    assert log.read_text() == ""
    log.write_text(" and after")
    assert words(remains, temporary).endswith("the end and after")


def test_stacks_come_before_the_output_and_nothing_is_said_of_what_is_empty(remains: Remains) -> None:
    temporary, log, stacks = left(remains)
    assert words(remains, temporary) == ""
    log.write_bytes(b"caf\xe9\n")
    stacks.write_text("Current thread\n")
    assert words(remains, temporary) == "stacks:\nCurrent thread\n\nlast output:\ncaf\N{REPLACEMENT CHARACTER}"


def test_removing_leaves_nothing_of_this_worker_and_all_of_another(remains: Remains, tmp_path: Path) -> None:
    temporary, _, _ = left(remains)
    other = left(remains)
    (Path(temporary) / "folder").mkdir()
    (Path(temporary) / "folder" / "file").touch()
    remains.remove_remains(temporary)
    remains.remove_remains(temporary)
    assert {str(path) for path in (tmp_path / "logs").iterdir()} == {str(path) for path in other}


def test_a_socket_among_the_temporary_files_has_a_path_that_the_kernel_takes(remains: Remains, tmp_path: Path) -> None:
    session, socket = "/pytest-accel-12345678", "/pymp-12345678/listener-12345678"  # the latter is multiprocessing's
    own = left(remains)[0].removeprefix(str(tmp_path / "logs"))
    assert len(session + own + socket) <= 107 - 40, "which leaves 40 bytes for the user's TMPDIR"


def test_a_relative_folder_is_told_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in left(Remains("logs")):
        assert Path(path).is_absolute()


def test_a_log_that_somebody_has_removed_is_an_empty_one(remains: Remains, tmp_path: Path) -> None:
    temporary, _, _ = left(remains)
    shutil.rmtree(tmp_path / "logs")
    remains.trim_logs()
    assert words(remains, temporary) == ""
    remains.restore_folder(temporary)
    assert Path(temporary).is_dir()
    remains.remove_remains(temporary)


def test_credentials_are_taken_out_of_the_log_and_the_stacks(remains: Remains) -> None:
    temporary, *files = left(remains)
    for file in files:
        file.write_text("GET /?key=secret%2Fof%20the+worker AKIAIOSFODNN7EXAMPLE")
    assert words(remains, temporary, "secret/of the worker").count("GET /?key=(redacted) (redacted)") == 2
