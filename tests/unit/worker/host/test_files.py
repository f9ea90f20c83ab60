from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.worker.host import files as host_files
from pytest_accel.worker.host.files import Files, Unkept, default_root, deflated, inflated, inside
from tests.drills.drill import can_mount

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 1 << 20
#: LIMIT_MB is a limit that no test reaches.
LIMIT_MB = 1_000.0


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def part(content: bytes, *, first: bool = True, last: bool = True, digest: str = "") -> dict[str, Any]:
    named = {"digest": digest or sha256(content), "name": "model.onnx", "first": first, "last": last}
    return {**named, **deflated(content)}


def arrived(part: dict[str, Any], most_bytes: int) -> bytes:
    return inflated(part["data"], part["deflated"], most_bytes)


def bring(files: Files, *contents: bytes) -> int:
    """Have contents held, and return how many of them were missing."""
    by_digest = {sha256(content): content for content in contents}
    missing = files.hold_contents({digest: len(content) for digest, content in by_digest.items()})["missing"]
    for digest in missing:
        files.receive_parts([part(by_digest[digest])], MOST_BYTES)
    return len(missing)


def run(root: Path, limit_mb: float = LIMIT_MB) -> Files:
    return Files(str(root), limit_mb)


def kept(files: Files) -> set[str]:
    return names(Path(files._root, "objects"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def held(files: Files, content: bytes) -> Path:
    return Path(files.hold_contents({sha256(content): len(content)})["folder"]) / sha256(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "files"


@pytest.fixture
def files(root: Path) -> Files:
    return run(root)


@pytest.fixture(params=["hard links", "a disk without hard links"])
def any_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, root: Path) -> Files:
    def refused(path: str, other: str) -> None:
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), path)

    if request.param != "hard links":
        monkeypatch.setattr(os, "link", refused)
    return run(root)


def test_what_one_run_has_brought_the_next_one_finds(any_disk: Files, root: Path) -> None:
    assert bring(any_disk, b"weights", b"graph") == 2
    any_disk.let_go()
    assert bring(run(root), b"weights", b"graph", b"other") == 1


def test_a_folder_is_laid_out_by_names_and_read_only(any_disk: Files) -> None:
    bring(any_disk, b"weights", b"graph")
    names = {"net/saved_model.pb": b"graph", "net/variables/data": b"weights", "net/same": b"graph"}
    wanted = {name: sha256(content) for name, content in names.items()}
    folder = Path(any_disk.lay_out(wanted, ["net/assets"])["folder"])
    assert (folder / "net/saved_model.pb").read_bytes() == (folder / "net/same").read_bytes() == b"graph"
    assert (folder / "net/variables/data").read_bytes() == b"weights"
    assert (folder / "net/variables/data").stat().st_mode & 0o222 == 0
    assert list((folder / "net/assets").iterdir()) == []
    (folder / "net/tuned").write_bytes(b"what an SDK adds")
    assert any_disk.lay_out(wanted, ["net/assets"])["folder"] == str(folder)
    assert (folder / "net/tuned").exists()


def test_a_laid_out_file_takes_no_space_of_its_own(files: Files) -> None:
    bring(files, b"weights")
    folder = files.lay_out({"weights": sha256(b"weights")})["folder"]
    assert Path(folder, "weights").samefile(Path(files._root, "objects", sha256(b"weights")))


def test_a_content_may_come_in_many_parts_and_many_contents_in_one_request(files: Files) -> None:
    weights = random.Random(1).randbytes(100_000)
    digest = sha256(weights)
    files.hold_contents({digest: len(weights), sha256(b"graph"): 5})
    files.receive_parts([part(b"graph"), part(weights[:60_000], last=False, digest=digest)], MOST_BYTES)
    assert kept(files) == {sha256(b"graph")}, "half of a content is none"
    files.receive_parts([part(weights[60_000:], first=False, digest=digest)], MOST_BYTES)
    assert held(files, weights).read_bytes() == weights


def test_an_upload_that_was_interrupted_begins_again(files: Files, root: Path) -> None:
    digest = sha256(b"weights")
    files.receive_parts([part(b"wei", last=False, digest=digest)], MOST_BYTES)
    other = run(root)
    assert other.hold_contents({digest: 7})["missing"] == [digest]
    files.receive_parts([part(b"weights")], MOST_BYTES)
    assert held(other, b"weights").read_bytes() == b"weights"


def test_a_content_that_is_not_what_its_digest_says_is_not_kept(files: Files) -> None:
    with pytest.raises(Unkept, match=r"model\.onnx has not arrived as it was: it was changed meanwhile, or damaged"):
        files.receive_parts([part(b"changed", digest=sha256(b"weights"))], MOST_BYTES)
    assert kept(files) == set()
    assert bring(files, b"weights") == 1


@pytest.mark.parametrize("damage", ["other contents", "another length"])
def test_a_content_that_was_damaged_is_sent_again(any_disk: Files, root: Path, damage: str) -> None:
    bring(any_disk, b"weights", b"graph")
    any_disk.let_go()
    damaged = root / "objects" / sha256(b"weights")
    status = damaged.stat()
    damaged.chmod(0o600)
    damaged.write_bytes(b"damaged" if damage == "other contents" else b"weight")
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    later = run(root)
    assert bring(later, b"weights", b"graph") == 1
    assert held(later, b"weights").read_bytes() == b"weights"


def test_a_content_that_a_program_writes_to_in_a_run_is_sent_again(any_disk: Files) -> None:
    bring(any_disk, b"weights")
    folder = Path(any_disk.lay_out({"weights": sha256(b"weights")})["folder"])
    for written in (folder / "weights", held(any_disk, b"weights")):
        written.chmod(0o600)
        written.write_bytes(b"tuned")
    assert bring(any_disk, b"weights") == 1
    assert any_disk.lay_out({"weights": sha256(b"weights")})["folder"] == str(folder)
    assert (folder / "weights").read_bytes() == b"weights"


def test_contents_are_hashed_once_in_a_run(files: Files, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(files, b"weights")
    hashed: list[Path] = []

    def hash_and_count(path: Path) -> str:
        hashed.append(path)
        return sha256(path.read_bytes())

    monkeypatch.setattr(host_files, "sha256_of", hash_and_count)
    later = run(root)
    for _ in range(3):
        assert bring(later, b"weights") == 0
        assert bring(files, b"weights") == 0
    assert len(hashed) == 1


def test_what_was_made_is_kept_by_its_content(any_disk: Files, root: Path) -> None:
    made = Path(any_disk.empty_folder()["folder"])
    (made / "deep/empty").mkdir(parents=True)
    (made / "engine").write_bytes(b"engine")
    (made / "deep/again").write_bytes(b"engine")
    (made / "link").symlink_to("engine")
    digest = sha256(b"engine")
    told = any_disk.keep_folder(str(made))
    names = ("engine", "link", "deep/again")
    assert told == {"files": {name: [digest, 6] for name in names}, "folders": ["deep/empty"]}
    assert arrived(any_disk.read_content(digest, 2, 3), 3) == b"gin"
    any_disk.drop_folder(str(made))
    assert not made.exists()
    any_disk.let_go()
    assert bring(run(root), b"engine") == 0


def test_a_file_that_others_may_change_is_copied(files: Files, tmp_path: Path) -> None:
    for name, content in (("linked to", b"of the SDK"), ("hard linked", b"of a user")):
        (tmp_path / name).write_bytes(content)
    made = Path(files.empty_folder()["folder"])
    (made / "link").symlink_to(tmp_path / "linked to")
    os.link(tmp_path / "hard linked", made / "other name")
    files.keep_folder(str(made))
    for name in ("linked to", "hard linked"):
        assert (tmp_path / name).stat().st_mode & 0o200, "it stays writable"
        (tmp_path / name).write_bytes(b"changed")
    assert held(files, b"of the SDK").read_bytes() == b"of the SDK"
    assert held(files, b"of a user").read_bytes() == b"of a user"


def sized(index: int) -> bytes:
    return random.Random(index).randbytes(10_000)


def test_the_least_recently_used_contents_go_where_there_are_too_many(root: Path) -> None:
    earlier = run(root)
    bring(earlier, *map(sized, range(4)))
    for age_s in range(4):
        content = root / "objects" / sha256(sized(age_s))
        os.utime(content, ns=(time.time_ns() - (age_s + 1) * 10**10, content.stat().st_mtime_ns))
    bring(earlier, sized(3))  # used again, and not read
    earlier.let_go()
    last = run(root, limit_mb=0.03)
    bring(last, sized(4))
    assert kept(last) == {sha256(sized(index)) for index in (0, 3, 4)}


def test_what_a_living_run_uses_is_found_by_others_however_many_there_are(files: Files, root: Path) -> None:
    bring(files, sized(0))
    bring(run(root, limit_mb=0.005), sized(1))
    assert bring(run(root), sized(0), sized(1)) == 0


def test_what_a_living_run_uses_stays_whoever_needs_the_space(any_disk: Files, root: Path) -> None:
    bring(any_disk, sized(0))
    folder = Path(any_disk.lay_out({"net": sha256(sized(0))})["folder"])
    other = run(root, limit_mb=0.015)
    for index in range(1, 5):
        bring(other, sized(index))
        assert held(other, sized(index)).read_bytes() == sized(index)
    assert (folder / "net").read_bytes() == sized(0)
    assert bring(any_disk, sized(0)) == 0
    other.let_go()
    any_disk.let_go()
    bring(run(root, limit_mb=0.015), sized(5))
    assert kept(any_disk) == {sha256(sized(5))}


def test_what_a_run_releases_may_go(files: Files, root: Path) -> None:
    small = run(root, limit_mb=0.015)
    bring(small, sized(0))
    small.hold_contents({}, release=[sha256(sized(0))])
    bring(small, sized(1))
    assert kept(small) == {sha256(sized(1))}


def test_a_disk_with_too_little_space_loses_first_what_nobody_uses(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = run(root)
    bring(earlier, sized(0), sized(1))
    earlier.let_go()
    files = run(root)
    bring(files, sized(1))
    taken = {sha256(sized(0)), sha256(sized(1))}

    def usage(_: str) -> SimpleNamespace:
        return SimpleNamespace(free=1_000 + 10_000 * len(taken - kept(files)))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert files.hold_contents({sha256(sized(2)): 10_000})["missing"] == [sha256(sized(2))]
    assert kept(files) == {sha256(sized(1))}
    with pytest.raises(Unkept) as error:
        files.hold_contents({sha256(sized(2)): 2_000_000})
    says = f"the disk has too little space: 0.0 MB are free for {root} and 2.0 MB are to come; free some"
    assert says in str(error.value)


#: FILL sends more than fits on a disk of 1 MB, which `hold_contents` was not told of; what is said is printed.
FILL = """
import hashlib, random, sys
from pytest_accel.worker.host.files import Files, Unkept
files = Files(sys.argv[1], 1_000)
content = random.Random(1).randbytes(2_000_000)
part = {"digest": hashlib.sha256(content).hexdigest(), "name": "net.onnx", "deflated": False}
try:
    files.receive_parts([{**part, "first": True, "last": True, "data": content}], 1 << 22)
except Unkept as error:
    print(error)
print(files.free_space()["free"] > 900_000)
"""


@pytest.mark.skipif(not can_mount(), reason="needs unshare, and the right to mount a tmpfs")
def test_a_disk_that_fills_up_meanwhile_is_told_with_its_space(tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size=1m none "{tmp_path}" && exec "$0" -c "$1" "{tmp_path}/files"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, sys.executable, FILL], capture_output=True, text=True, check=True
    )
    told, has_space_again = done.stdout.splitlines()
    assert told.startswith("No space left on device: ")
    assert f"MB are free for {tmp_path}/files; free some space there, or set XDG_CACHE_HOME" in told
    assert has_space_again == "True"


def test_a_folder_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(Unkept, match=r"cache/files cannot be used: Not a directory .*; make it writable for this user"):
        Files(str(tmp_path / "cache" / "files"), LIMIT_MB)


#: LIVE_ON holds contents and waits to be killed.
LIVE_ON = """
import sys, time
from tests.unit.worker.host.test_files import Files, bring, part, sha256
files = Files(sys.argv[1], 1_000)
bring(files, b"weights")
files.receive_parts([part(b"half", last=False, digest=sha256(b"half of it"))], 1 << 20)
print("lives", flush=True)
time.sleep(60)
"""


def test_what_a_killed_run_has_left_goes_with_the_next_one(root: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LIVE_ON, str(root)], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "lives\n"
        run(root).let_go()
        left = names(root / "runs")
        assert len(left) == 2, "the run and its lock, since it lives"
        killed.send_signal(signal.SIGKILL)
    later = run(root)
    assert not left & names(root / "runs")
    assert bring(later, b"weights") == 0


def test_letting_go_twice_does_no_harm(files: Files, root: Path) -> None:
    files.let_go()
    files.let_go()
    assert names(root / "runs") == set()


def busy_run(root: Path, seed: int) -> int:
    """Bring, use and release contents in a cache that is too small, as one of several runs; the contents sent."""
    chance, sent = random.Random(seed), 0
    for _ in range(15):
        files = run(root, limit_mb=0.05)
        for _ in range(8):
            wanted = [sized(chance.randrange(12)) for _ in range(2)]
            sent += bring(files, *wanted)
            folder = Path(files.lay_out({f"{index}/net": sha256(net) for index, net in enumerate(wanted)})["folder"])
            assert [(folder / f"{index}/net").read_bytes() for index in range(2)] == wanted
            files.drop_folder(str(folder))
            files.hold_contents({}, release=[sha256(net) for net in wanted])
        if chance.random() < 0.7:  # else it is gone without a word
            files.let_go()
    return sent


def test_several_runs_share_a_cache_that_is_too_small_for_them(root: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as runs:
        sent = sum(runs.map(busy_run, [root] * 3, range(3)))
    assert 0 < sent < 3 * 15 * 8 * 2, "some were found"
    last = run(root, limit_mb=0.05)
    bring(last, b"the last one")
    assert sum(path.stat().st_size for path in (root / "objects").iterdir()) <= 50_000
    assert len(names(root / "runs")) == 2, "all others are gone"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "", ".", "..", "a//b", "a/", "./a", "a\0b"])
def test_no_name_leads_out_of_its_folder(files: Files, name: str) -> None:
    bring(files, b"weights")
    with pytest.raises(Unkept, match="is no name of a file inside a folder: rename it"):
        inside("/folder", name)
    with pytest.raises(Unkept, match="is no name"):
        files.lay_out({name: sha256(b"weights")})
    with pytest.raises(Unkept, match="is no name"):
        files.lay_out({}, [name])


@pytest.mark.parametrize("digest", ["../objects", "", "0" * 63, "A" * 64, "0" * 64 + "\n", None])
def test_what_is_no_digest_names_no_content(files: Files, digest: Any) -> None:
    naming: tuple[Callable[[], object], ...] = (
        lambda: files.hold_contents({digest: 1}),
        lambda: files.hold_contents({}, [digest]),
        lambda: files.read_content(digest, 0, 1),
        lambda: files.receive_parts([{**part(b"x"), "digest": digest}], 1),
        lambda: files.lay_out({"name": digest}),
    )
    for ask in naming:
        with pytest.raises(Unkept, match="is no sha256"):
            ask()


def test_no_folder_but_the_runs_own_is_read_or_removed(files: Files, root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/key").write_bytes(b"secret")
    made = Path(files.empty_folder()["folder"])
    of_another_run = run(root).empty_folder()["folder"]
    (made.parent / "link").symlink_to(tmp_path / "precious")
    theirs = (tmp_path / "precious", made / ".." / "..", made.parent, made.parent / "link", of_another_run)
    for folder in map(str, theirs):
        for ask in (files.keep_folder, files.drop_folder):
            with pytest.raises(Unkept, match="is no folder that was made for this run"):
                ask(folder)
    assert (tmp_path / "precious/key").exists()


def test_a_part_is_no_longer_than_was_said() -> None:
    travelling = deflated(b"0" * 1_000_000)
    assert travelling["deflated"]
    tracemalloc.start()
    try:
        with pytest.raises(Unkept, match="more than the 1000 bytes"):
            inflated(travelling["data"], True, 1_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 100_000, "and what it would be is never made"
    with pytest.raises(Unkept, match="has arrived damaged"):
        inflated(b"no such thing", True, 1_000)


def test_only_what_shrinks_is_compressed() -> None:
    text = b"".join(b"layer %d of the model\n" % index for index in range(20_000))
    weights = random.Random(1).randbytes(400_000)
    assert not deflated(weights)["deflated"]
    assert len(deflated(text)["data"]) < len(text) / 3
    for chunk in (text, weights, b"", b"x"):
        assert arrived(deflated(chunk), len(chunk)) == chunk


def test_the_cache_is_the_users_own() -> None:
    assert default_root({"XDG_CACHE_HOME": "/scratch"}) == "/scratch/pytest-accel/files"
    assert default_root({}) == str(Path.home() / ".cache/pytest-accel/files")
