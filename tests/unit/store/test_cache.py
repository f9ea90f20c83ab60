from __future__ import annotations

import errno
import multiprocessing
import multiprocessing.connection  # before a pytest run inside a test does, which forgets what it imported
import os
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_accel.facts.errors import CacheError, WorkerError
from pytest_accel.facts.records import Hardware
from pytest_accel.store.cache import Cache, Entry, artefact_key, cache_key, default_root
from pytest_accel.store.locks import lock_at
from pytest_accel.worker.file_content import sha256_of

SPAWN = multiprocessing.get_context("spawn")


def writes(text: str, name: str = "model/weights") -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return build


def must_not_build(folder: Path) -> None:
    raise AssertionError("the entry was there already")


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, warned: list[str]) -> Cache:
    return Cache(tmp_path / "cache", limit_mb=1, warn=warned.append)


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} if folder.exists() else set()


def test_an_entry_is_made_once(cache: Cache, warned: list[str]) -> None:
    made = cache.entry("k", writes("four"), label="resnet50 cpu")
    found = cache.entry("k", must_not_build, label="resnet50 cpu")
    assert (made.path / "model/weights").read_text() == "four"
    assert (made.hit, found.hit) == (False, True)
    assert found == Entry("k", made.path, size_mb=4e-6, hit=True, digest=made.digest) == cache.lookup("k")
    assert warned == []


def test_an_entry_is_found_by_the_next_process(cache: Cache) -> None:
    cache.entry("k", writes("four"), label="")
    cache.close()
    assert Cache(cache.root, limit_mb=1).entry("k", must_not_build, label="").hit


def test_nothing_is_found_where_nothing_is(cache: Cache) -> None:
    assert cache.lookup("k") is None
    assert cache.entries() == ()


def test_files_that_an_sdk_adds_later_are_no_damage(cache: Cache, warned: list[str]) -> None:
    (cache.entry("k", writes("four"), label="").path / "timing.cache").write_text("tactics")
    assert Cache(cache.root, 1, warn=warned.append).entry("k", must_not_build, label="").hit
    assert warned == []


def truncated(entry: Path) -> None:
    os.truncate(entry / "content/model/weights", 3)


def missing(entry: Path) -> None:
    (entry / "content/model/weights").unlink()


def other_contents(entry: Path) -> None:
    (entry / "content/model/weights").write_text("five")


def other_contents_of_the_same_time(entry: Path) -> None:
    file = entry / "content/model/weights"
    before = file.stat()
    file.write_text("five")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def no_manifest(entry: Path) -> None:
    (entry / "manifest.json").unlink()


def half_a_manifest(entry: Path) -> None:
    os.truncate(entry / "manifest.json", 10)


def a_file_for_a_folder(entry: Path) -> None:
    missing(entry)
    (entry / "content/model").rmdir()
    (entry / "content/model").touch()


def a_byte_above_ascii_in_the_manifest(entry: Path) -> None:
    manifest = entry / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"label": ""', b'"label": "\xff"'))


def a_manifest_of_another_shape(entry: Path) -> None:
    (entry / "manifest.json").write_text('{"label": "", "files": {"x": {"size": -1, "mtime_ns": 0, "sha256": ""}}}')


def names(name: str) -> Callable[[Path], None]:
    def damage(entry: Path) -> None:
        manifest = entry / "manifest.json"
        manifest.write_text(manifest.read_text().replace("model/weights", name))

    return damage


def a_fifo_for_a_manifest(entry: Path) -> None:
    no_manifest(entry)
    os.mkfifo(entry / "manifest.json")


def a_link_for_a_manifest(entry: Path) -> None:
    (entry / "manifest.json").rename(entry / "elsewhere.json")
    (entry / "manifest.json").symlink_to("elsewhere.json")


def a_folder_for_a_manifest(entry: Path) -> None:
    no_manifest(entry)
    (entry / "manifest.json").mkdir()


def a_device_for_a_file(entry: Path) -> None:
    missing(entry)
    (entry / "content/model/weights").symlink_to("/dev/zero")


def a_fifo_for_a_file(entry: Path) -> None:
    missing(entry)
    os.mkfifo(entry / "content/model/weights")


def a_loop_for_a_file(entry: Path) -> None:
    missing(entry)
    (entry / "content/model/weights").symlink_to("weights")


def a_link_for_the_content(entry: Path) -> None:
    (entry / "content").rename(entry / "moved")
    (entry / "content").symlink_to("moved")


def a_file_for_an_entry(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.write_text("a file")


def a_fifo_for_an_entry(entry: Path) -> None:
    shutil.rmtree(entry)
    os.mkfifo(entry)


def a_link_for_an_entry(entry: Path) -> None:
    entry.rename(entry.parents[1] / "moved")
    entry.symlink_to(entry.parents[1] / "moved")


def a_link_to_nothing_for_an_entry(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.symlink_to("nothing")


DAMAGES: dict[Callable[[Path], None], str] = {
    truncated: "model/weights has 3 bytes instead of 4",
    missing: "model/weights is missing",
    other_contents: "model/weights has other contents",
    other_contents_of_the_same_time: "model/weights has other contents",
    no_manifest: "it has no manifest.json",
    half_a_manifest: "manifest.json: Input data was truncated",
    a_file_for_a_folder: "model/weights is missing",
    a_byte_above_ascii_in_the_manifest: "manifest.json: 'utf-8' codec can't decode byte 0xff",
    a_manifest_of_another_shape: "manifest.json: Expected `int` >= 0",
    names("../../../../etc/passwd"): "it names '../../../../etc/passwd', which is no file of an entry",
    names("/dev/zero"): "it names '/dev/zero', which is no file of an entry",
    names("a\\u0000b"): "is missing",
    a_fifo_for_a_manifest: "manifest.json: is no regular file",
    a_link_for_a_manifest: "manifest.json: Too many levels of symbolic links",
    a_folder_for_a_manifest: "manifest.json: is no regular file",
    a_device_for_a_file: "model/weights is no regular file",
    a_fifo_for_a_file: "model/weights is no regular file",
    a_loop_for_a_file: "model/weights is missing",
    a_link_for_the_content: "content is a link",
    a_file_for_an_entry: "it is no folder",
    a_fifo_for_an_entry: "it is no folder",
    a_link_for_an_entry: "it is a link",
    a_link_to_nothing_for_an_entry: "it is a link",
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_entry_is_told_set_aside_and_made_again(
    cache: Cache, warned: list[str], damage: Callable[[Path], None], words: str
) -> None:
    folder = cache.entry("k", writes("four"), label="").path.parent
    cache.entry("sound", writes("five"), label="")
    damage(folder)
    later = Cache(cache.root, 1, warn=warned.append)
    again = later.entry("k", writes("made again"), label="")
    assert not again.hit
    assert (again.path / "model/weights").read_text() == "made again"
    (sentence,) = warned
    assert sentence.startswith(f"the compile cache's entry {folder} was damaged (")
    assert words in sentence
    aside = cache.root / "damaged" / "k.damaged"
    assert f") and is made again; the damaged one is kept as {aside} until `pytest-accel cache prune`" in sentence
    assert os.path.lexists(aside)
    assert later.entry("sound", must_not_build, label="").hit
    assert Cache(cache.root, 1, warn=warned.append).entry("k", must_not_build, label="").hit


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda value: value.__name__)
def test_a_damaged_entry_is_listed_and_can_be_cleared(cache: Cache, damage: Callable[[Path], None]) -> None:
    folder = cache.entry("k", writes("four"), label="").path.parent
    cache.entry("sound", writes("five"), label="sound")
    cache.close()
    damage(folder)
    assert {stored.key for stored in cache.entries()} == {"k", "sound"}
    assert {stored.key for stored in cache.prune(0)} == {"k", "sound"}
    assert everything_below(cache.root / "entries") == everything_below(cache.root / "building") == set()


def test_what_was_set_aside_goes_with_the_next_pruning(cache: Cache) -> None:
    truncated(cache.entry("k", writes("four"), label="").path.parent)
    Cache(cache.root, 1).entry("k", writes("four"), label="")
    assert everything_below(cache.root / "damaged")
    Cache(cache.root, 1).prune(1)
    assert not (cache.root / "damaged").exists()


@pytest.mark.parametrize("place", ["building/k", "locks/k.lock"])
@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nothing")])
def test_what_stands_in_the_way_of_an_entry_is_moved(cache: Cache, place: str, put: Callable[[Path], object]) -> None:
    (cache.root / place).parent.mkdir(parents=True)
    put(cache.root / place)
    assert not cache.entry("k", writes("four"), label="").hit


@pytest.mark.parametrize("text", [b"[" * 100_000, b'["\xff"]', b"[1e999999]"])
def test_a_value_that_python_itself_cannot_read_is_made_again(cache: Cache, warned: list[str], text: bytes) -> None:
    cache.entry("k", lambda folder: (folder / "value.json").write_bytes(text), label="anything")
    assert cache.value("k", list[Any], lambda: [1], label="anything") == [1]
    assert "was damaged (value.json: " in warned[0]


def test_a_value_of_another_release_is_made_again(cache: Cache, warned: list[str]) -> None:
    cache.value("k", list[int], lambda: [1], label="numbers")
    assert cache.value("k", dict[str, int], lambda: {"one": 1}, label="numbers") == {"one": 1}
    assert "was damaged (value.json: Expected `object`, got `array`) and is made again" in warned[0]


def test_a_damaged_entry_is_not_looked_up(cache: Cache, warned: list[str]) -> None:
    truncated(cache.entry("k", writes("four"), label="").path.parent)
    assert cache.lookup("k") is None
    assert "is not used" in warned[0]
    assert cache.entries() == ()


def test_large_contents_are_hashed_only_where_a_time_changed(
    cache: Cache, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_accel.store.cache.HASHED_AT_FIRST_USE_MB", 0)
    folder = cache.entry("k", writes("four"), label="").path.parent
    other_contents_of_the_same_time(folder)
    assert Cache(cache.root, 1).lookup("k") is not None  # the price of not reading gigabytes
    os.utime(folder / "content/model/weights", ns=(1, 1))
    assert Cache(cache.root, 1, warn=warned.append).lookup("k") is None
    assert "has other contents" in warned[0]


def test_contents_are_hashed_once_in_a_process(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.entry("k", writes("four"), label="")
    hashed: list[str] = []

    def hash_and_count(file: Path) -> str:
        hashed.append(file.name)
        return sha256_of(file)

    monkeypatch.setattr("pytest_accel.store.cache.sha256_of", hash_and_count)
    later = Cache(cache.root, 1)
    assert later.lookup("k") is not None
    assert later.lookup("k") is not None
    assert cache.lookup("k") is not None
    assert hashed == ["weights"]


def test_what_is_in_use_is_not_looked_at_again_until_it_is_released(cache: Cache, warned: list[str]) -> None:
    for release in (partial(cache.release, "k"), cache.release_all, cache.close):
        cache.entry("k", writes("four"), label="")
        held = cache.lookup("k")
        assert held is not None
        other_contents(held.path.parent)
        assert cache.lookup("k") is held
        assert cache.entry("k", must_not_build, label="") is held
        release()
        assert cache.lookup("k") is None
    assert len(warned) == 3


@pytest.mark.parametrize("failure", [RuntimeError("refused"), KeyboardInterrupt("stop"), FileNotFoundError("no model")])
def test_an_interrupted_build_leaves_no_entry_and_no_lock(cache: Cache, failure: BaseException) -> None:
    def build(folder: Path) -> None:
        writes("half")(folder)
        raise failure

    with pytest.raises(type(failure), match=str(failure)):
        cache.entry("k", build, label="")
    assert not everything_below(cache.root / "building")
    assert cache.entries() == ()
    assert not cache.entry("k", writes("four"), label="").hit


def test_an_entry_is_invisible_until_it_is_whole(cache: Cache) -> None:
    def build(folder: Path) -> None:
        writes("four")(folder)
        assert Cache(cache.root, 1).entries() == ()

    cache.entry("k", build, label="")
    assert [stored.key for stored in cache.entries()] == ["k"]


@pytest.mark.parametrize("key", ["", "a/b", "..", ".hidden", "a b"])
def test_a_key_must_be_able_to_name_a_file(cache: Cache, key: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        cache.lookup(key)


def store(cache: Cache, key: str, *, last_used: int, kilobytes: int = 400) -> None:
    cache.entry(key, writes("x" * kilobytes * 1000), label=f"model {key}")
    os.utime(cache.root / "entries" / key / "manifest.json", (last_used, last_used))


def test_the_listing_begins_with_the_least_recently_used(cache: Cache) -> None:
    store(cache, "new", last_used=30, kilobytes=100)
    store(cache, "old", last_used=10, kilobytes=200)
    cache.release("old")
    found = [(line.key, line.label, line.size_mb, line.last_used, line.in_use) for line in cache.entries()]
    assert found == [("old", "model old", 0.2, 10, False), ("new", "model new", 0.1, 30, True)]


def test_the_least_recently_used_go_when_the_limit_is_passed(cache: Cache) -> None:
    for age, key in enumerate(("oldest", "older", "newer")):
        store(cache, key, last_used=age)
        cache.release(key)
    assert [stored.key for stored in cache.entries()] == ["older", "newer"]


def test_a_hit_counts_as_a_use(cache: Cache) -> None:
    store(cache, "a", last_used=10)
    store(cache, "b", last_used=20)
    cache.lookup("a")
    cache.close()
    assert [stored.key for stored in cache.prune(limit_mb=0.5)] == ["b"]


def test_entries_in_use_stay_whatever_the_limit(cache: Cache) -> None:
    store(cache, "used", last_used=10)
    store(cache, "done", last_used=20)
    cache.release("done")
    other = Cache(cache.root, limit_mb=1)
    assert [stored.key for stored in other.prune(limit_mb=0)] == ["done"]
    assert [stored.key for stored in other.entries()] == ["used"]
    cache.close()
    assert [stored.key for stored in other.prune(limit_mb=0)] == ["used"]


def test_a_hit_is_a_use_that_protects(cache: Cache) -> None:
    cache.entry("k", writes("four"), label="")
    cache.close()
    assert cache.lookup("k") is not None
    assert Cache(cache.root, limit_mb=1).prune(0) == ()


def test_an_entry_that_somebody_looks_at_is_not_evicted(cache: Cache) -> None:
    cache.entry("k", writes("four"), label="")
    cache.close()
    with lock_at(cache.root / "locks/k.lock"):
        assert Cache(cache.root, limit_mb=1).prune(0) == ()


def test_an_entry_that_alone_passes_the_limit_serves_the_one_who_made_it(cache: Cache) -> None:
    store(cache, "big", last_used=10, kilobytes=3000)
    assert cache.lookup("big") is not None


def test_clearing_takes_damaged_entries_too(cache: Cache) -> None:
    no_manifest(cache.entry("k", writes("four"), label="").path.parent)
    cache.close()
    assert [stored.label for stored in cache.prune(0)] == ["(damaged)"]
    assert not everything_below(cache.root / "entries")


def test_an_entry_that_is_being_made_is_not_evicted(cache: Cache) -> None:
    other = Cache(cache.root, 1)

    def build(folder: Path) -> None:
        writes("four")(folder)
        assert other.prune(0) == ()

    assert (cache.entry("k", build, label="").path / "model/weights").read_text() == "four"


def _make(root: Path, barrier: Barrier, log: Path) -> None:
    def build(folder: Path) -> None:
        with log.open("a") as stream:
            stream.write("built\n")
        writes("four")(folder)

    barrier.wait(timeout=60)
    assert (Cache(root, 1).entry("k", build, label="").path / "model/weights").read_text() == "four"


def test_of_many_processes_one_builds_and_the_others_wait(cache: Cache, tmp_path: Path) -> None:
    barrier, log = SPAWN.Barrier(4), tmp_path / "log"
    processes = [SPAWN.Process(target=_make, args=(cache.root, barrier, log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert log.read_text() == "built\n"


def _be_killed_while_building(root: Path) -> None:
    cache = Cache(root, 1)
    cache.entry("used", writes("four"), label="")

    def build(folder: Path) -> None:
        writes("half")(folder)
        os.kill(os.getpid(), signal.SIGKILL)

    cache.entry("k", build, label="")


def test_what_a_killed_process_leaves_is_in_nobodys_way(cache: Cache) -> None:
    process = SPAWN.Process(target=_be_killed_while_building, args=(cache.root,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert everything_below(cache.root / "building")
    shutil.copytree(cache.root, cache.root.with_name("again"))
    assert [stored.in_use for stored in cache.entries()] == [False]
    assert Cache(cache.root, 1).lookup("other") is None  # the start of the next run
    assert not everything_below(cache.root / "building")
    assert not cache.entry("other", writes("four"), label="").hit
    assert not cache.entry("k", writes("four"), label="").hit
    cache.close()
    assert not everything_below(cache.root / "in-use")
    assert not Cache(cache.root.with_name("again"), 1).entry("k", writes("four"), label="").hit


def _build_beyond_the_file_size_limit(root: Path, answers: multiprocessing.Queue[str]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        Cache(root, 1).entry("k", writes("x" * 2000), label="")
    except OSError as error:
        answers.put(errno.errorcode[error.errno or 0])


def test_a_file_that_cannot_be_written_whole_leaves_nothing(cache: Cache) -> None:
    answers = SPAWN.Queue()
    process = SPAWN.Process(target=_build_beyond_the_file_size_limit, args=(cache.root, answers))
    process.start()
    assert answers.get(timeout=60) == "EFBIG"
    process.join()
    assert cache.entries() == ()
    assert not everything_below(cache.root / "building")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_while_building_says_what_to_do(cache: Cache, code: int) -> None:
    def build(folder: Path) -> None:
        raise OSError(code, os.strerror(code), str(folder / "weights"))

    with pytest.raises(
        CacheError, match=r"free some space, run `pytest-accel cache prune .*--accel-cache-dir"
    ) as error:
        cache.entry("k", build, label="")
    assert str(cache.root) in str(error.value)
    assert os.strerror(code) in str(error.value)
    assert not everything_below(cache.root / "building")


@pytest.mark.parametrize("operation", ["rename", "write_bytes", "mkdir"])
def test_a_full_disk_while_storing_leaves_nothing(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    cache.entry("other", writes("four"), label="")

    def full(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, operation, full)
        with pytest.raises(CacheError, match="No space left on device; free some space"):
            cache.entry("k", lambda folder: os.mkdir(folder / "weights"), label="")  # noqa: PTH102 - Path is broken here
    assert [stored.key for stored in cache.entries()] == ["other"]
    assert not everything_below(cache.root / "building")


def test_a_root_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    cache = Cache(tmp_path / "cache", 1)
    with pytest.raises(CacheError, match=r"cache cannot be used: .*; choose another folder with --accel-cache-dir"):
        cache.entry("k", must_not_build, label="")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_is_not_ours_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CacheError, match="Permission denied"):
        Cache(tmp_path / "cache", 1).lookup("k")


def test_by_default_the_log_hears_of_damage(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    truncated(cache.entry("k", writes("four"), label="").path.parent)
    Cache(cache.root, 1).lookup("k")
    assert "was damaged" in caplog.text


def test_the_default_root_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "pytest-accel"


def key(**changed: object) -> str:
    facts: dict[str, object] = {
        "model_digest": "d",
        "accelerator": "cpu",
        "options": {"batch_size": 1, "precision": "fp32"},
    }
    facts |= {"versions": {"a": "1", "b": "2"}, "made_for": "f", "code_digest": "c"}
    return artefact_key(**{**facts, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"model_digest": "e"},
        {"accelerator": "gpu"},
        {"options": {"batch_size": 2, "precision": "fp32"}},
        {"versions": {"a": "1", "b": "3"}},
        {"made_for": "g"},
        {"code_digest": "d"},
        {"calibration_digest": "c"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_all_that_compiling_depends_on_makes_another_key(changed: dict[str, object]) -> None:
    assert key(**changed) != key()


def test_the_order_of_options_and_versions_does_not_make_another_key(cache: Cache) -> None:
    same = key(options={"precision": "fp32", "batch_size": 1}, versions={"b": "2", "a": "1"})
    assert same == key()
    assert not cache.entry(same, writes("four"), label="").hit  # it can name a file


def test_all_entries_can_be_released_at_once_and_used_again(cache: Cache) -> None:
    for key in ("a", "b"):
        cache.entry(key, lambda folder: (folder / "file").write_bytes(b"x" * 1000), label=key)
    cache.release_all()
    assert not any(stored.in_use for stored in cache.entries())
    assert cache.lookup("a") is not None
    assert [stored.in_use for stored in cache.entries() if stored.key == "a"] == [True]


def test_a_value_is_made_once_and_keeps_its_type(cache: Cache) -> None:
    hardware = Hardware(fingerprint="a-cpu", identity={"cores": 2})
    assert cache.value("k", Hardware, lambda: hardware, label="hardware") == hardware
    cache.close()

    def made_again() -> Hardware:
        raise AssertionError("the value was there already")

    assert Cache(cache.root, limit_mb=1).value("k", Hardware, made_again, label="hardware") == hardware


def test_a_value_that_cannot_be_made_leaves_nothing(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError):
        cache.value("k", float, lambda: 1 / 0, label="a quotient")
    assert cache.lookup("k") is None


def test_a_key_depends_on_its_kind_and_on_every_part_by_name() -> None:
    key = cache_key("signature", model="m", options={"a": 1, "b": None})
    assert key == cache_key("signature", options={"b": None, "a": 1}, model="m")
    assert len({key, cache_key("control", model="m", options={"a": 1, "b": None})}) == 2
    assert len({key, cache_key("signature", model="m", options={"a": 1, "b": 0})}) == 2
    assert len({key, cache_key("signature", models="m", options={"a": 1, "b": None})}) == 2


def test_the_digest_of_an_entry_is_that_of_its_names_and_contents(tmp_path: Path) -> None:
    digests = [
        Cache(tmp_path / str(number), 1).entry("k", writes(text, name), label="").digest
        for number, (text, name) in enumerate([("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")])
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_cache_that_is_removed_while_it_is_used_is_made_again(cache: Cache) -> None:
    cache.entry("k", writes("four"), label="")
    shutil.rmtree(cache.root)
    assert cache.lookup("k") is None
    assert not cache.entry("k", writes("four"), label="").hit
    assert [stored.in_use for stored in cache.entries()] == [True]
    shutil.rmtree(cache.root)
    cache.release_all()
    cache.close()


def test_a_worker_that_fails_on_a_full_disk_is_told_as_that(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(folder: Path) -> None:
        raise WorkerError("compile failed: half a file")

    with pytest.raises(WorkerError):
        cache.entry("k", build, label="")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(CacheError, match="No space left on device, 100 bytes are free: compile failed: half"):
        cache.entry("k", build, label="")
