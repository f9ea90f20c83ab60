"""Every example of README and docs/ is run, and every command is one that exists.

The CI files of the pages are tested in `tests.test_docs_ci`. That the pages leave nothing out and read well is tested
in `tests.test_docs_complete`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

from pytest_accel.acceptance import record
from pytest_accel.report.acceptance_table import BEGIN, END
from pytest_accel.report.record import to_json
from pytest_accel.store import named_baselines
from pytest_accel.store.baselines import Baselines
from pytest_accel.store.history import History
from pytest_accel.store.history_entry import entry_of
from pytest_accel.testing import FAKE, fake_model
from tests.pages import DOCS, PAGES, README, ROOT, USER_PAGES, Page
from tests.unit import facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.models.zoo import Examples

SWEEPS, ADDING = Page("docs/sweeps.md"), Page("docs/adding-an-accelerator.md")
PYTORCH = Page("docs/accelerators/pytorch.md")
#: Tests on a page that a test of their own runs, because there is more to see.
RUN_APART = {(SWEEPS.name, "test_sweep.py"), (ADDING.name, "test_contract.py")}
#: The accelerators that any machine with their packages has.
HERE = re.compile(r'"cpu(-ort|-openvino)?"' if find_spec("torch") is None else r'"cpu(-ort|-openvino|-torch)?"')

#: Runs of an example until none of its measurements was spoilt by other processes, at most.
TRIES = 3

#: BAD_OUTCOMES are the elements of a JUnit file for the tests that did not pass.
BAD_OUTCOMES = ("error", "failure", "skipped")

of_each_page = pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: page.name)


EXAMPLES = [
    (page, name)
    for page in USER_PAGES
    for name in page.files("python")
    if name.startswith("test_") and (page.name, name) not in RUN_APART
]


# Examples


@of_each_page
def test_every_python_block_is_a_file(page: Page) -> None:
    assert len(page.blocks("python")) == len(page.files("python"))
    others = {name for name in page.files("python") if not name.startswith("test_")}
    assert others <= ({"conftest.py", "my_accelerator.py"} if page == ADDING else set())


@of_each_page
def test_blocks_are_of_languages_that_are_looked_at(page: Page) -> None:
    assert set(re.findall(r"^```(\w*)$\n", page.text, re.MULTILINE)) <= {"python", "sh", "toml", "yaml", "text", ""}
    assert len(page.blocks("")) == 0


def test_every_example_is_collected(pytester: pytest.Pytester) -> None:
    files = []
    for page, name in EXAMPLES:
        files.append(pytester.path / page.name.replace("/", "-").removesuffix(".md") / name)
        files[-1].parent.mkdir(exist_ok=True)
        files[-1].write_text(page.files("python")[name], encoding="utf-8")
    result = pytester.runpytest_subprocess("--collect-only", "-q", "-p", "no:cacheprovider", "--import-mode=importlib")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    collected = {line.partition("::")[0] for line in result.outlines if "::" in line}
    assert collected == {file.relative_to(pytester.path).as_posix() for file in files}


@pytest.mark.slow
@pytest.mark.usefixtures("run_alone")
@pytest.mark.parametrize("framework", ["tensorflow", "pytorch"])
def test_every_example_runs_on_the_cpu_and_skips_elsewhere(
    pytester: pytest.Pytester, digits_cnn: Path, digits_val: Examples, framework: str
) -> None:
    """Those of one framework run together: it converts the models, and is their reference, once for all pages."""
    sources = {
        name: page.files("python")[name] for page, name in EXAMPLES if (page == PYTORCH) == (framework == "pytorch")
    }
    for name, source in sources.items():
        (pytester.path / name).write_text(source, encoding="utf-8")
    _write_digits(pytester, digits_cnn, digits_val)
    outcomes = _outcomes(pytester, sources)
    assert {name: found - {"skipped"} for name, found in outcomes.items()} == {
        name: {"passed"} if HERE.search(source) else set() for name, source in sources.items()
    }


def _outcomes(pytester: pytest.Pytester, files: Iterable[str]) -> dict[str, set[str]]:
    """The outcomes of the tests of each file.

    A neighbour can spoil a measurement, which is an answer of its own; it does not spoil three in a row.
    """
    outcomes: dict[str, set[str]] = {}
    left = list(files)
    for _ in range(TRIES):
        # Of a baseline the examples have none, and there is no time to wait for one of a busy machine.
        result = pytester.runpytest_subprocess("--junitxml=run.xml", "-o", "accel_compare_budget=10", *left)
        cases = ElementTree.parse(pytester.path / "run.xml").iter("testcase")
        found = [
            (case.get("classname"), next((tag for tag in BAD_OUTCOMES if case.find(tag) is not None), "passed"))
            for case in cases
        ]
        outcomes.update({file: {tag for name, tag in found if f"{name}.py" == file} for file in left})
        left = [file for file in left if "failure" in outcomes[file]]
        if not left or "not-measured: " not in result.stdout.str():
            break
    assert all(outcomes.values()), outcomes
    return outcomes


@pytest.fixture
def run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples are run as in a shell, whichever worker of xdist runs their test."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


def _write_digits(pytester: pytest.Pytester, digits_cnn: Path, digits_val: Examples) -> None:
    """The models and fixtures that the pages' examples ask for, all of digits."""
    for model in ("resnet50", "digits_cnn"):
        shutil.copytree(digits_cnn, pytester.path / "models" / model)
    inputs, labels = digits_val
    np.savez(pytester.path / "val.npz", x=inputs[:64], y=labels[:64])
    np.savez(pytester.path / "train.npz", x=inputs[64:128])
    fixtures = {"imagenet_val": "val", "imagenet_train": "train", "digits_val": "val", "digits_train": "train"}
    pytester.makeconftest(
        "import pytest\n"
        + "".join(f"@pytest.fixture\ndef {name}():\n    return '{file}.npz'\n" for name, file in fixtures.items())
    )


@pytest.mark.slow
@pytest.mark.usefixtures("run_alone")
def test_the_sweep_ends_as_a_table_like_the_one_that_is_shown(
    pytester: pytest.Pytester, digits_cnn: Path, digits_val: Examples
) -> None:
    (pytester.path / "test_sweep.py").write_text(SWEEPS.files("python")["test_sweep.py"], encoding="utf-8")
    _write_digits(pytester, digits_cnn, digits_val)
    output = pytester.runpytest_subprocess("--accel-report=run.json").outlines
    title = "digits_cnn on cpu-ort: 12 variants of test_sweep.py::test_sweep"
    (shown,) = (block.splitlines() for block in SWEEPS.blocks("text") if title in block)
    made = output[output.index(title) :]
    assert made[1].split() == shown[1].split()
    variants = [row.lstrip("* ").split()[1] for row in shown[2:14]]
    assert [row.lstrip("* ").split()[1] for row in made[2:14]] == variants  # verdicts are this machine's own


def test_the_accelerator_example_keeps_the_contract(pytester: pytest.Pytester) -> None:
    for name, source in ADDING.files("python").items():
        (pytester.path / name).write_text(source, encoding="utf-8")
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.accelerator("doubler", batch_size=2)
        def test_it(accel_model):
            accel_model("model.onnx").check()
        """
    )
    (pytester.path / "model.onnx").touch()
    result = pytester.runpytest_subprocess("--accel-cache-dir=cache", "-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "skipped"}, result.stdout.str()
    assert outcomes["passed"] >= 10
    result.stdout.fnmatch_lines(["no-baseline * model[[]doubler-b2[]] *"])
    without_us = pytester.runpytest_subprocess("-p", "no:accel", "--collect-only", "test_it.py")
    assert without_us.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("page", [page for page in USER_PAGES if page.blocks("toml")], ids=lambda page: page.name)
def test_every_ini_example_is_accepted_as_it_stands(pytester: pytest.Pytester, page: Page) -> None:
    assert len(page.blocks("toml")) == len(page.files("toml")) == 1
    if pytest.version_tuple < (9, 0):
        pytest.skip("native TOML settings came with pytest 9")
    text = page.files("toml")["pytest.toml"]
    (pytester.path / "pytest.toml").write_text(text, encoding="utf-8")
    for path in re.findall(r'"[\w-]+=(?!ssh=)([^"]+)"', text):
        assert not Path(path).is_absolute()
        (pytester.path / path).parent.mkdir(parents=True)
        (pytester.path / path).touch()
    pytester.makepyfile("def test_unmarked(): pass")
    result = pytester.runpytest_subprocess("--accelerator=cpu", "--strict-config")
    result.stdout.fnmatch_lines(["accel: *", "no accelerator test ran: nothing was measured"])
    assert "ERROR" not in result.stderr.str()


# Commands

REGISTER_FAKE = f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}"
#: What a shell block may hold beside our own commands.
KNOWN_COMMANDS = (
    "pytest ",
    "pytest-accel ",
    "pip install ",
    "python -m ",
    "git ",
    "ssh ",
    "(cd ",
    "python3 -m venv ",
    ".ci/run",
)


def commands() -> list[str]:
    """Every command of ours on any page: of shell blocks, of workflows, and of code spans that are one.

    A span that only names a command of the console script has ``--help`` behind it.
    """
    lines = [line for page in PAGES for block in page.blocks("sh") for line in block.splitlines()]
    lines += [line for page in PAGES for _, script in page.scripts for line in script.splitlines()]
    for span in (span for page in PAGES for span in page.code if span.startswith(("pytest ", "pytest-accel "))):
        lines.append(f"{span} --help" if re.fullmatch(r"pytest-accel [a-z ]+", span) else span)
    found = [re.search(r"(?:^|&& |\()((?:pytest|pytest-accel) [^#)>]+)", line) for line in lines]
    return list(dict.fromkeys(command[1].strip() for command in found if command is not None))


@of_each_page
def test_shell_blocks_hold_known_commands_only(page: Page) -> None:
    lines = [line for block in page.blocks("sh") for line in block.splitlines() if line.strip()]
    assert [line for line in lines if not line.startswith(KNOWN_COMMANDS)] == []


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_exists(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    program, *args = shlex.split(re.sub(r"\$?\{\{.*?\}\}|\$ACCELERATOR", "cpu", command))
    if paths := [arg for arg in args if arg.startswith("tests/")]:
        markers = {marker.partition(":")[0] for marker in pytestconfig.getini("markers")}
        _check_command_of_this_repository(paths, args, markers)
        return
    _make_checkout(pytester, monkeypatch)
    args = [name for arg in args for name in (map(str, sorted(Path().glob(arg))) if "*" in arg else [arg])]
    if program == "pytest-accel":
        (script,) = entry_points(group="console_scripts", name="pytest-accel")
        own_cache = ["--cache-dir=cache"] if args[0] == "cache" else []
        if args[-1] == "--help":
            with pytest.raises(SystemExit, match=r"^0$"):
                script.load()(args)
        else:
            # A bisection runs the test many times. Here is no repository and no index of packages, which it says.
            monkeypatch.setenv("PIP_NO_INDEX", "1")
            assert script.load()([*args, *own_cache]) in ((2, 128) if args[0] == "bisect" else (0, 1))
    elif "--accel-selftest" in args:  # what it says of a real one takes minutes
        Path("conftest.py").write_text(
            f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}", encoding="utf-8"
        )
        others = [arg for arg in args if not arg.startswith("--accelerator=")]
        result = pytester.runpytest_subprocess(*others, "--accelerator=fake", "-o", "accel_selftest_budget=1")
        result.stdout.fnmatch_lines(["fake *: 1 of 1 unchanged stayed green, *"])
    else:
        # pytest-benchmark warns of a run without benchmarks, which would fail this suite in its own process.
        inside = not any(arg.startswith("--benchmark") for arg in args)
        run = pytester.runpytest_inprocess if inside else pytester.runpytest_subprocess
        result = run(*args, "--collect-only", "-p", "no:cacheprovider")
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), result.stderr.str()


def _make_checkout(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages' commands find where they are run: tests, records, histories, and main beside the branch."""
    branch = pytester.mkdir("branch")
    for folder in ("main/.accel", "branch/baselines", "main/baselines", "branch/runs"):
        (pytester.path / folder).mkdir(parents=True)
    monkeypatch.chdir(branch)
    Path("test_it.py").write_text(
        "import pytest\n@pytest.mark.accelerator('cpu', 'inf1')\ndef test_it(accel_model): ...\n", encoding="utf-8"
    )
    Baselines(named_baselines.folder_of(Path("baselines"), "release-1.4")).save(facts.baseline())
    for machine in ("run", "cpu", "inf1", "runs/cpu", "runs/inf1"):
        Path(f"{machine}.json").write_text(to_json(facts.run(facts.record())), encoding="utf-8")
    measured = facts.record(measurement=facts.measurement())
    History(Path("runs/cpu")).add([entry_of(measured, began="2026-11-23T17:00:00+00:00", confidence=0.95)])
    page, stored = Path("docs/accelerators/acceptance.md"), Path("docs/accelerators/acceptance/t4.json")
    stored.parent.mkdir(parents=True)
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    record.write([facts.acceptance("held")], stored)


def _check_command_of_this_repository(paths: list[str], args: list[str], markers: set[str]) -> None:
    """Running it would take minutes; what it names is there."""
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {after for before, after in pairwise(args) if before == "-m"} <= markers
    assert {arg for arg in args if arg.startswith("-")} <= {"-m", "-n", "-s"}


MODULES = sorted({command for page in PAGES for command in re.findall(r"python -m (tests\.[^`\n]*)", page.text)})


@pytest.mark.parametrize("command", MODULES)
def test_every_module_of_the_suite_that_is_run_takes_its_options(command: str) -> None:
    module, *args = command.partition(" -- ")[0].split()
    told = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    for option in re.findall(r"--[\w-]+", " ".join(args)):
        assert option in told.stdout


@pytest.mark.slow
def test_the_recipe_for_branches_finds_a_branch_slower_than_main(pytester: pytest.Pytester) -> None:
    (recipe,) = [block for page in DOCS for block in page.blocks("sh") if "git worktree" in block]
    branch = pytester.mkdir("branch")
    (branch / "conftest.py").write_text(REGISTER_FAKE, encoding="utf-8")
    (branch / "test_model.py").write_text(
        "import pytest\n"
        '@pytest.mark.accelerator("fake")\n'
        'def test_model(accel_model): accel_model("model.fake.json").check()\n'
    )
    fake_model(branch / "model.fake.json", latency_ms=1.0)
    commit = "git add . && git -c user.name=me -c user.email=me@example.org commit -qm model"
    script = f"git init -qb main && {commit} && git checkout -qb slower"
    subprocess.run(["sh", "-ec", script], cwd=branch, check=True)
    fake_model(branch / "model.fake.json", latency_ms=1.3)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", recipe.replace("--accelerator=cpu", "--accelerator=fake")],
        cwd=branch,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    for opponent in ("../main", "../main/.accel"):
        assert re.search(rf"^regressed .* ×1\.300 \[.*\] of {opponent} ", done.stdout, re.M), done.stdout + done.stderr


def test_run_it_and_test_it_are_one_line_each() -> None:
    for title in ("Run it", "Test it"):
        section = re.search(rf"^## {title}\n(.*?)^## ", README.text, re.MULTILINE | re.DOTALL)
        assert section is not None
        (block,) = re.findall(r"^```sh\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
        assert len(block.splitlines()) == 1
