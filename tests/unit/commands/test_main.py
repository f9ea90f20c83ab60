from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pytest_accel import __version__
from pytest_accel.facts.records import Provenance, Variant
from pytest_accel.inputs.registry import Registry
from pytest_accel.report.devices import table
from pytest_accel.report.write import write
from pytest_accel.store.baselines import Baselines, CompiledBaselines
from pytest_accel.store.cache import Cache
from pytest_accel.worker.accelerator import Missing
from tests.unit import facts
from tests.unit.commands.conftest import Ran
from tests.unit.facts import T4, baseline, compiled_baseline


@pytest.fixture
def store(tmp_path: Path) -> Baselines:
    store = Baselines(tmp_path / "baselines")
    store.save(baseline())
    provenance = Provenance(commit="0123456789abcdef", dirty=False, branch="main")
    cpu = Variant(accelerator="cpu", options={})
    store.save(baseline(model="bert", variant=cpu, accuracy=None, provenance=provenance))
    return store


# baseline show


def test_show_lists_baselines_in_a_table(run: Callable[..., Ran], store: Baselines) -> None:
    ran = run("baseline", "show")
    assert ran.status == 0
    assert [line.split() for line in ran.lines] == [
        [
            "fingerprint",
            "model",
            "variant",
            "p50",
            "ms",
            "p99",
            "ms",
            "items/s",
            "top-1",
            "launches",
            "saved",
            "commit",
        ],
        [T4.fingerprint, "bert", "cpu", "50", "99", "158.4", "-", "1", "2026-11-23", "0123456789"],
        [T4.fingerprint, "resnet50", "gpu-trt-int8-b8", "50", "99", "158.4", "0.9167", "1", "2026-11-23", "-"],
    ]
    assert ran.lines[0].index("p50 ms") + len("p50 ms") == ran.lines[1].index(" 50 ") + len(" 50")


def test_show_takes_words_that_the_path_must_have(run: Callable[..., Ran], store: Baselines) -> None:
    assert "bert" not in run("baseline", "show", "resnet", "int8").out
    ran = run("baseline", "show", "resnet", "cpu")
    assert (ran.status, ran.out) == (1, "no baseline in baselines has resnet and cpu\n")


def test_show_as_json(run: Callable[..., Ran], store: Baselines) -> None:
    found = json.loads(run("baseline", "show", "--json").out)
    assert [one["model"] for one in found] == ["bert", "resnet50"]


def test_show_finds_nothing_in_a_folder_that_is_not_there(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("baseline", "show", "--baseline-dir", tmp_path / "none")
    assert (ran.status, ran.out) == (1, f"no baseline in {tmp_path / 'none'}\n")
    assert json.loads(run("baseline", "show", "--json").out) == []


def test_a_broken_baseline_is_trouble_named_by_file_and_line(run: Callable[..., Ran], store: Baselines) -> None:
    store.paths()[0].write_text("{\n  1\n}")
    ran = run("baseline", "show")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("pytest-accel: baselines/")
    assert "cpu.json:2: not JSON" in ran.err


# baseline diff


@pytest.fixture
def newer(tmp_path: Path) -> Baselines:
    store = Baselines(tmp_path / "newer")
    store.save(baseline(versions={"tensorrt": "10.16", "driver": "570.1"}))
    store.save(baseline(model="bert", variant=Variant(accelerator="cpu", options={}), accuracy=None))
    return store


CHANGED = "version tensorrt: 10.9.0 -> 10.16"
RESNET = f"{T4.fingerprint}/resnet50/gpu-trt-int8-b8.json"


def test_diff_of_two_files(run: Callable[..., Ran], store: Baselines, newer: Baselines) -> None:
    ran = run("baseline", "diff", store.root / RESNET, newer.root / RESNET)
    assert (ran.status, ran.out) == (1, f"{CHANGED}\n")


def test_diff_of_what_is_the_same(run: Callable[..., Ran], store: Baselines) -> None:
    ran = run("baseline", "diff", store.root, store.root)
    assert (ran.status, ran.out) == (0, "")


def test_diff_of_two_folders(run: Callable[..., Ran], store: Baselines, newer: Baselines) -> None:
    newer.paths()[0].unlink()
    ran = run("baseline", "diff", store.root, newer.root)
    bert = f"{T4.fingerprint}/bert/cpu.json"
    assert (ran.status, ran.lines) == (1, [bert, f"  only in {store.root / bert}", RESNET, f"  {CHANGED}"])


def test_diff_as_json(run: Callable[..., Ran], store: Baselines, newer: Baselines) -> None:
    ran = run("baseline", "diff", "--json", store.root, newer.root)
    change = {"kind": "version", "name": "tensorrt", "before": "10.9.0", "after": "10.16"}
    assert ran.status == 1
    assert json.loads(ran.out) == {RESNET: [{"fact": CHANGED, "change": change}]}


def test_diff_of_what_is_not_there_is_trouble(run: Callable[..., Ran], store: Baselines) -> None:
    ran = run("baseline", "diff", store.root, "nowhere")
    assert (ran.status, ran.err) == (2, "pytest-accel: there is no file or folder nowhere\n")
    ran = run("baseline", "diff", store.root, store.root / RESNET)
    assert ran.status == 2
    assert "give two files or two folders" in ran.err


# baseline prune


def test_prune_only_tells_until_it_is_told_yes(run: Callable[..., Ran], store: Baselines) -> None:
    ran = run("baseline", "prune", "--model", "bert")
    bert = f"baselines/{T4.fingerprint}/bert/cpu.json"
    assert (ran.status, ran.lines) == (0, [f"would remove {bert}", "nothing is removed yet: add --yes"])
    assert len(store.paths()) == 2
    ran = run("baseline", "prune", "--model", "bert", "--yes")
    assert (ran.status, ran.lines) == (0, [f"removed {bert}"])
    assert store.paths() == [store.root / RESNET]


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        (["--fingerprint", T4.fingerprint], 0),
        (["--fingerprint", "other"], 2),
        (["--variant", "gpu-trt-int8-b8"], 1),
        (["--model", "bert", "--variant", "gpu-trt-int8-b8"], 2),
    ],
)
def test_prune_removes_what_all_conditions_fit(
    run: Callable[..., Ran], store: Baselines, conditions: list[str], kept: int
) -> None:
    assert run("baseline", "prune", *conditions, "--yes").status == 0
    assert len(store.paths()) == kept


def test_prune_by_age(run: Callable[..., Ran], tmp_path: Path) -> None:
    store, today = Baselines(tmp_path / "baselines"), datetime.datetime.now().date()
    store.save(baseline(model="old", today=today - datetime.timedelta(days=8)))
    store.save(baseline(model="young", today=today - datetime.timedelta(days=5)))
    run("baseline", "prune", "--older-than", "6", "--yes")
    assert [path.parent.name for path in store.paths()] == ["young"]
    assert run("baseline", "prune", "--older-than", "6").lines == ["no baseline fits"]


def test_prune_without_a_condition_removes_nothing(run: Callable[..., Ran], store: Baselines) -> None:
    ran = run("baseline", "prune", "--yes")
    assert ran.status == 2
    assert "say which baselines to remove: --fingerprint, --model, --variant or --older-than" in ran.err
    assert len(store.paths()) == 2


# cache


def write_zeros(size: int, folder: Path) -> None:
    (folder / "zeros").write_bytes(bytes(size))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache", limit_mb=10)
    for key, size in (("a", 1_500_000), ("b", 500_000)):
        cache.entry(key, partial(write_zeros, size), label=f"net {key}")
    return cache


def test_cache_list(run: Callable[..., Ran], cache: Cache) -> None:
    cache.release("a")
    ran = run("cache", "list", "--cache-dir", cache.root)
    assert ran.status == 0
    assert ran.lines[0].split() == ["key", "MB", "last", "used", "what"]
    rows = {line.split()[0]: line for line in ran.lines[1:3]}
    assert rows["a"].endswith("net a")
    assert "1.5" in rows["a"]
    assert ("in use" in rows["a"], "in use" in rows["b"]) == (False, True)
    assert ran.lines[3] == f"2 entries, 2.0 MB in {cache.root}"


def test_cache_list_shows_what_is_damaged_misplaced_or_has_no_name(run: Callable[..., Ran], cache: Cache) -> None:
    (cache.root / "entries" / "a" / "manifest.json").write_bytes(b'{"label": "\xff"}')
    (cache.root / "entries" / "b" / "manifest.json").touch()
    os.utime(cache.root / "entries" / "b" / "manifest.json", (2.0**40, 2.0**40))
    (cache.root / "entries" / "\udcff").touch()
    for args in ([], ["--json"]):
        ran = run("cache", "list", "--cache-dir", cache.root, *args)
        assert ran.status == 0
        assert all(name in ran.out for name in ("(damaged)", "udcff", "net b"))
    cache.close()
    assert run("cache", "clear", "--cache-dir", cache.root).lines[-1] == "0 entries, 0.0 MB are left, 0 of them in use"


def test_a_reader_that_has_read_enough_gets_no_traceback(cache: Cache) -> None:
    listing = f"{sys.executable} -m pytest_accel.commands.main cache list --cache-dir {cache.root}"
    code = f"import sys; from pytest_accel.commands.main import main; sys.exit(main({listing.split()[3:]!r}))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""


def test_cache_list_as_json(run: Callable[..., Ran], cache: Cache) -> None:
    found = json.loads(run("cache", "list", "--json", "--cache-dir", cache.root).out)
    assert {one["key"]: one["size_mb"] for one in found} == {"a": 1.5, "b": 0.5}


def test_an_empty_cache_is_listed(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert run("cache", "list", "--cache-dir", tmp_path).lines == [f"0 entries, 0.0 MB in {tmp_path}"]


def test_cache_prune(run: Callable[..., Ran], cache: Cache) -> None:
    cache.close()
    ran = run("cache", "prune", "--limit", "0.6", "--cache-dir", cache.root)
    assert ran.lines == ["removed a (1.5 MB, net a)", "1 entries, 0.5 MB are left, 0 of them in use"]


def test_cache_clear_spares_what_is_in_use(run: Callable[..., Ran], cache: Cache) -> None:
    cache.release("b")
    ran = run("cache", "clear", "--cache-dir", cache.root)
    assert ran.lines == ["removed b (0.5 MB, net b)", "1 entries, 1.5 MB are left, 1 of them in use"]


def test_the_cache_is_the_users_by_default(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run("cache", "list").lines == [f"0 entries, 0.0 MB in {tmp_path / 'pytest-accel'}"]


def test_a_cache_that_cannot_be_used_is_trouble(run: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "cache/entries/k").mkdir(parents=True)
    (tmp_path / "cache/locks").touch()
    ran = run("cache", "clear", "--cache-dir", tmp_path / "cache")
    assert ran.status == 2
    assert f"the compile cache {tmp_path / 'cache'} cannot be used" in ran.err


# report


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """The records of two machines."""
    machines = [
        facts.run(facts.record(test=f"test_it.py::test_it[{name}]", measurement=facts.measurement()), started=started)
        for name, started in (("gpu", "2026-11-23T17:00:00+00:00"), ("inf1", "2026-11-23T18:30:00+00:00"))
    ]
    paths = [tmp_path / f"{nth}.json" for nth in range(len(machines))]
    for path, machine in zip(paths, machines, strict=True):
        write([machine], path)
    return paths


@pytest.mark.parametrize("name", ["all.html", "all.md"])
def test_report_makes_one_of_several_runs(run: Callable[..., Ran], runs: list[Path], tmp_path: Path, name: str) -> None:
    ran = run("report", *runs, "-o", tmp_path / "new" / name)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"{tmp_path / 'new' / name}: 2 runs, 2 checks\n"
    text = (tmp_path / "new" / name).read_text(encoding="utf-8")
    assert "Passed: none of 2 tests failed" in text
    assert "23 November 2026, 17:00 UTC" in text
    assert "23 November 2026, 18:30 UTC" in text


@pytest.mark.parametrize(
    ("name", "checks"),
    [("all.prom", "pytest_accel_passed{"), ("all.bmf.json", '"file-size": {'), ("all.gab.json", ': artefact size"')],
)
def test_report_writes_what_other_programs_read_of_all_runs(
    run: Callable[..., Ran], runs: list[Path], tmp_path: Path, name: str, checks: str
) -> None:
    assert run("report", *runs, "-o", tmp_path / name).status == 0
    assert (tmp_path / name).read_text(encoding="utf-8").count(checks) == 2


def test_report_takes_a_record_that_is_given_twice_once(run: Callable[..., Ran], runs: list[Path]) -> None:
    assert run("report", runs[0], runs[0], "-o", "one.md").out == "one.md: 1 run, 1 checks\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory"),
        ("{}", "other.json is not a record of a pytest-accel run: Object missing required field `schema`"),
        ("<html>", "other.json is not a record of a pytest-accel run: JSON is malformed"),
        ("[" * 100_000, "other.json is not a record of a pytest-accel run: "),
        ('{"schema": 1, "version": "1", "x": ' + "[" * 100_000, "other.json is not a record of a pytest-accel run: "),
        ('{"schema": 99, "version": "9.0"}', "other.json was written by pytest-accel 9.0 in a newer format (99)"),
    ],
)
def test_report_of_what_is_no_record_is_trouble_that_names_it(
    run: Callable[..., Ran], runs: list[Path], tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "other.json").write_text(text, encoding="utf-8")
    ran = run("report", runs[0], "other.json", "-o", "all.md")
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err
    assert not (tmp_path / "all.md").exists()


def test_report_says_which_formats_there_are(run: Callable[..., Ran], runs: list[Path]) -> None:
    ran = run("report", *runs, "-o", "all.json")
    assert ran.status == 2
    known = ".html, .md, .prom, .bmf.json, .gab.json"
    assert ran.err == f"pytest-accel: all.json: the suffix says the format, and only {known} are known\n"


# devices


@pytest.fixture
def without_inf1(monkeypatch: pytest.MonkeyPatch) -> Missing:
    from pytest_accel.worker.accelerators.neuron.inf1 import Inf1

    missing = Missing("no-hardware", "no /dev/neuron0", "run on an Inf1 instance")
    monkeypatch.setattr(Inf1, "probe_hardware", classmethod(lambda _cls: missing))
    return missing


def test_devices_tells_what_speaks_against_each(run: Callable[..., Ran], without_inf1: Missing) -> None:
    ran = run("devices")
    at = next(number for number, line in enumerate(ran.lines) if line.startswith("inf1 "))
    assert ran.status == 0
    assert ran.lines[at].split(maxsplit=2)[1:] == ["absent", "no-hardware: no /dev/neuron0"]
    assert ran.lines[at + 1].split(maxsplit=1) == ["run", "on an Inf1 instance"]
    assert ["cpu", "possible"] in [line.split() for line in ran.lines]
    assert ran.lines[-1].startswith("Devices only; `pytest --accel-list`")


def test_devices_prints_the_table_of_accel_list(run: Callable[..., Ran], without_inf1: Missing) -> None:
    registry = Registry.discover()
    survey = {name: registry.find(name).probe_hardware() for name in registry.names}
    assert survey["inf1"] == without_inf1
    assert run("devices").lines[:-1] == list(table(survey))


def test_devices_as_json(run: Callable[..., Ran], without_inf1: Missing) -> None:
    found = {entry.pop("accelerator"): entry for entry in json.loads(run("devices", "--json").out)}
    assert found["inf1"] == {"here": "no-hardware", "why": "no /dev/neuron0; run on an Inf1 instance"}
    assert found["cpu"] == {"here": "possible", "why": ""}


# The command line itself


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["baseline"],
        ["cache"],
        ["report"],
        ["report", "run.json"],
        ["nonsense"],
        ["cache", "prune"],
        ["cache", "prune", "--limit", "-1"],
        ["cache", "prune", "--limit", "nan"],
        ["baseline", "prune", "--older-than", "soon"],
        ["matrix", "--runner", "gpu-trt"],
        ["matrix", "--runner", "gpu-trt=T4,"],
    ],
)
def test_a_wrong_call_is_trouble_and_says_how_to_call(run: Callable[..., Ran], words: list[str]) -> None:
    ran = run(*words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("usage: pytest-accel")


def test_a_bad_number_is_named(run: Callable[..., Ran]) -> None:
    assert "argument --limit: '-1' is not a number from 0 on" in run("cache", "prune", "--limit", "-1").err


def test_the_version_is_told(run: Callable[..., Ran]) -> None:
    assert run("--version").out == f"pytest-accel {__version__}\n"


def test_nothing_heavy_is_imported_to_answer_a_question_about_the_command_itself() -> None:
    code = """
import sys
from pytest_accel.commands.main import main
try:
    main(["--help"])
except SystemExit:
    print(*{"msgspec", "numpy", "psutil", "pytest", "filelock"} & set(sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == ""


# baselines of what was compiled and not run


@pytest.fixture
def with_compiled(store: Baselines) -> CompiledBaselines:
    compiled = CompiledBaselines(store.root)
    compiled.save(compiled_baseline())
    return compiled


def test_show_has_a_table_of_what_was_not_run(run: Callable[..., Ran], with_compiled: CompiledBaselines) -> None:
    *_, title, heads, row = run("baseline", "show").lines
    assert (title, heads.split()[:2]) == ("compiled and not run", ["compiled", "for"])
    assert row.split() == ["sm75", "resnet50", "gpu-trt-int8-b8", "60", "97.8", "0.9167", "2026-11-23", "-"]
    assert run("baseline", "show", "compile-only").lines[0] == "compiled and not run"


def test_diff_of_folders_has_both_kinds(
    run: Callable[..., Ran], with_compiled: CompiledBaselines, newer: Baselines
) -> None:
    CompiledBaselines(newer.root).save(compiled_baseline(versions={"tensorrt": "10.16"}))
    ran = run("baseline", "diff", "baselines", newer.root)
    assert "compile-only/sm75/resnet50/gpu-trt-int8-b8.json" in ran.lines
    assert ran.out.count("version tensorrt: 10.9.0 -> 10.16") == 2


def test_diff_of_two_kinds_is_trouble(run: Callable[..., Ran], with_compiled: CompiledBaselines) -> None:
    ran = run("baseline", "diff", Path("baselines") / RESNET, *with_compiled.paths())
    assert (ran.status, "do not compare: one was measured" in ran.err) == (2, True)


def test_prune_takes_either_kind(run: Callable[..., Ran], with_compiled: CompiledBaselines, store: Baselines) -> None:
    run("baseline", "prune", "--fingerprint", "sm75", "--yes")
    assert (with_compiled.paths(), len(store.paths())) == ([], 2)
