"""README and docs/ hold: examples run, commands and workflows exist, links resolve, nothing of the product is left out."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points, metadata
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from pytest_accel.facts.records import SEVERITY, Budgets
from pytest_accel.registry import BUILTIN, Registry
from pytest_accel.report.record import to_json
from pytest_accel.testing import FAKE, fake_model
from pytest_accel.worker.accelerator import COMMON_OPTIONS
from tests.pages import DOCS, PAGES, README, ROOT, USER_PAGES, Page, word_count
from tests.unit import facts

if TYPE_CHECKING:
    from tests.models.zoo import Examples

MOST_LINES_OF_README = 150
MOST_WORDS, MOST_WORDS_ON_AVERAGE = 30, 15.9
SWEEPS, ADDING = Page("docs/sweeps.md"), Page("docs/adding-an-accelerator.md")
OPTIONS, TROUBLE = Page("docs/options.md"), Page("docs/troubleshooting.md")
#: Tests on a page that a test of their own runs, because there is more to see.
RUN_APART = {(SWEEPS.name, "test_sweep.py"), (ADDING.name, "test_contract.py")}
#: The accelerators that any machine with their packages has.
HERE = re.compile(r'"cpu(-ort|-openvino)?"' if find_spec("torch") is None else r'"cpu(-ort|-openvino|-torch)?"')

named = pytest.mark.parametrize("page", USER_PAGES, ids=lambda page: page.name)


EXAMPLES = [
    pytest.param(page, name, id=f"{page.name}:{name}")
    for page in USER_PAGES
    for name in page.files("python")
    if name.startswith("test_") and (page.name, name) not in RUN_APART
]


# Examples


@named
def test_every_python_block_is_a_file(page: Page) -> None:
    assert len(page.blocks("python")) == len(page.files("python"))
    others = {name for name in page.files("python") if not name.startswith("test_")}
    assert others <= ({"conftest.py", "my_accelerator.py"} if page == ADDING else set())


@named
def test_blocks_are_of_languages_that_are_looked_at(page: Page) -> None:
    assert set(re.findall(r"^```(\w*)$\n", page.text, re.MULTILINE)) <= {"python", "sh", "toml", "yaml", "text", ""}
    assert len(page.blocks("")) == 0


@pytest.mark.parametrize(("page", "name"), EXAMPLES)
def test_every_example_is_collected(pytester: pytest.Pytester, page: Page, name: str) -> None:
    (pytester.path / name).write_text(page.files("python")[name], encoding="utf-8")
    result = pytester.runpytest_subprocess("--collect-only", "-q", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()


@pytest.mark.slow
@pytest.mark.parametrize(("page", "name"), EXAMPLES)
def test_every_example_runs_on_the_cpu_and_skips_elsewhere(
    pytester: pytest.Pytester, digits_cnn: Path, digits_val: Examples, page: Page, name: str
) -> None:
    source = page.files("python")[name]
    (pytester.path / name).write_text(source, encoding="utf-8")
    _write_digits(pytester, digits_cnn, digits_val)
    # Of a baseline the examples have none, and there is no time to wait for one of a busy machine.
    outcomes = pytester.runpytest_subprocess("-o", "accel_compare_budget=10").parseoutcomes()
    assert set(outcomes) <= {"passed", "skipped"}
    assert ("passed" in outcomes) == bool(HERE.search(source))


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


@pytest.mark.parametrize("page", [page for page in USER_PAGES if page.blocks("toml")], ids=lambda page: page.name)
def test_every_ini_example_is_accepted_as_it_stands(pytester: pytest.Pytester, page: Page) -> None:
    assert len(page.blocks("toml")) == len(page.files("toml")) == 1
    if pytest.version_tuple < (9, 0):
        pytest.skip("native TOML settings came with pytest 9")
    text = page.files("toml")["pytest.toml"]
    (pytester.path / "pytest.toml").write_text(text, encoding="utf-8")
    for path in re.findall(r'"[\w-]+=([^"]+)"', text):
        assert not Path(path).is_absolute()
        (pytester.path / path).parent.mkdir(parents=True)
        (pytester.path / path).touch()
    pytester.makepyfile("def test_unmarked(): pass")
    result = pytester.runpytest_subprocess("--accelerator=cpu")
    result.stdout.fnmatch_lines(["accel: *", "no accelerator test ran: nothing was measured"])


# Commands and workflows

REGISTER_FAKE = f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}"
#: What a shell block may hold beside our own commands.
KNOWN_COMMANDS = (
    "pytest ",
    "pytest-accel ",
    "pip install ",
    "python -m ",
    "git ",
    "(cd ",
    "python3 -m venv ",
    ".ci/run",
)


def commands() -> list[str]:
    """Every command of ours on any page: of shell blocks, of workflows, and of code spans that are one.

    A span that only names a command of the console script has ``--help`` behind it.
    """
    lines = [line for page in PAGES for block in page.blocks("sh") for line in block.splitlines()]
    lines += [line for page in PAGES for _, run in runs_of(page) for line in run.splitlines()]
    for span in (span for page in PAGES for span in page.code if span.startswith(("pytest ", "pytest-accel "))):
        lines.append(f"{span} --help" if re.fullmatch(r"pytest-accel [a-z ]+", span) else span)
    found = [re.search(r"(?:^|&& |\()((?:pytest|pytest-accel) [^#)>]+)", line) for line in lines]
    return list(dict.fromkeys(command[1].strip() for command in found if command is not None))


def runs_of(page: Page) -> Iterator[tuple[str, str]]:
    """The workflow files of a page's steps that run something, each with the step's script."""
    for name, text in page.files("yaml").items():
        for job in yaml.safe_load(text)["jobs"].values():
            for step in job["steps"]:
                if "run" in step:
                    yield name, step["run"]


@named
def test_shell_blocks_hold_known_commands_only(page: Page) -> None:
    lines = [line for block in page.blocks("sh") for line in block.splitlines() if line.strip()]
    assert [line for line in lines if not line.startswith(KNOWN_COMMANDS)] == []


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_exists(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    program, *args = shlex.split(re.sub(r"\$\{\{.*?\}\}", "cpu", command))
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
            assert script.load()([*args, *own_cache]) in (0, 1)
    elif "--accel-selftest" in args:  # what it says of a real one takes minutes
        Path("conftest.py").write_text(
            f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}", encoding="utf-8"
        )
        others = [arg for arg in args if not arg.startswith("--accelerator=")]
        result = pytester.runpytest_subprocess(*others, "--accelerator=fake", "-o", "accel_selftest_budget=1")
        result.stdout.fnmatch_lines(["fake *: 1 of 1 unchanged stayed green, *"])
    else:
        result = pytester.runpytest_subprocess(*args, "--collect-only", "-p", "no:cacheprovider")
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED), result.stderr.str()


def _make_checkout(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages' commands find where they are run: tests, records, baselines, and main beside the branch."""
    branch = pytester.mkdir("branch")
    for folder in ("main/.accel", "branch/baselines", "main/baselines", "branch/runs"):
        (pytester.path / folder).mkdir(parents=True)
    monkeypatch.chdir(branch)
    Path("test_it.py").write_text(
        "import pytest\n@pytest.mark.accelerator('cpu', 'inf1')\ndef test_it(accel_model): ...\n", encoding="utf-8"
    )
    for machine in ("cpu", "inf1", "runs/cpu", "runs/inf1"):
        Path(f"{machine}.json").write_text(to_json(facts.run(facts.record())), encoding="utf-8")


def _check_command_of_this_repository(paths: list[str], args: list[str], markers: set[str]) -> None:
    """Running it would take minutes; what it names is there."""
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {after for before, after in pairwise(args) if before == "-m"} <= markers
    assert {arg for arg in args if arg.startswith("-")} <= {"-m", "-s"}


MODULES = sorted({command for page in PAGES for command in re.findall(r"python -m (tests\.[^`\n]*)", page.text)})


@pytest.mark.parametrize("command", MODULES)
def test_every_module_of_the_suite_that_is_run_takes_its_options(command: str) -> None:
    module, *args = command.partition(" -- ")[0].split()
    told = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    for option in re.findall(r"--[\w-]+", " ".join(args)):
        assert option in told.stdout


@pytest.mark.parametrize("page", [page for page in USER_PAGES if page.blocks("yaml")], ids=lambda page: page.name)
def test_every_workflow_is_whole(page: Page) -> None:
    """What GitHub needs is there, and what a job needs of another job is that job's to give."""
    assert len(page.blocks("yaml")) == len(page.files("yaml"))
    for name, text in page.files("yaml").items():
        workflow = yaml.safe_load(text)
        assert re.fullmatch(r"\.github/workflows/[\w-]+\.yml", name)
        assert workflow[True], "the trigger; YAML takes the word 'on' for true"
        assert set(workflow) - {True} <= {"name", "permissions", "concurrency", "jobs", "env"}
        for job in workflow["jobs"].values():
            assert {"runs-on", "steps", "timeout-minutes"} <= job.keys()
            assert all(("uses" in step) != ("run" in step) for step in job["steps"])
            needed = job.get("needs", [])
            assert {needed} if isinstance(needed, str) else set(needed) <= workflow["jobs"].keys()
        for needed, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
            assert output in workflow["jobs"][needed]["outputs"]
        for step, output in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text):
            (script,) = [run for _, run in runs_of(page) if f'echo "{output}=' in run]
            assert f"id: {step}" in text
            assert "$GITHUB_OUTPUT" in script
    assert any("--accel-strict" in run for _, run in runs_of(page))


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


def test_every_extra_is_in_the_readme_and_no_other_is_named() -> None:
    extras = set(metadata("pytest-accel").get_all("Provides-Extra") or ())
    assert len(extras) > 10
    assert sorted(extras - set(README.code)) == []
    asked = [names for page in PAGES for names in re.findall(r"pytest-accel\[([\w,-]+)\]", page.text)]
    assert sorted({name for names in asked for name in names.split(",")} - extras) == []


# Nothing is left out, and nothing is made up


@pytest.fixture(scope="module")
def help_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("empty")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--help"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def spans(*pages: Page) -> str:
    """All code spans of these pages, one a line."""
    return "\n".join(span for page in pages for span in page.code)


def is_named(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def test_every_option_and_ini_key_is_on_a_page(help_text: str) -> None:
    options = set(re.findall(r"^  (--accel[\w-]*)", help_text, re.MULTILINE))
    keys = set(re.findall(r"^  (accel_\w+) \(", help_text, re.MULTILINE))
    assert len(options) > 10
    assert len(keys) > 20
    assert sorted(word for word in options | keys if not is_named(word, spans(OPTIONS))) == []
    named = {word for page in PAGES for word in re.findall(r"(?<![\w-])--accel[\w-]*[\w]", page.text)}
    assert sorted(named - options - {"--accel-marked-to"}) == []
    named = {word for page in PAGES for word in re.findall(r"(?<![\w.-])accel_[a-z_]+[a-z]", page.text)}
    assert sorted(named - keys - {"accel_model"}) == []


def test_every_budget_and_verdict_is_on_a_page() -> None:
    words = {*Budgets.__struct_fields__, *SEVERITY}
    assert sorted(word for word in words if not is_named(word, spans(*DOCS))) == []


def test_every_argument_of_the_marker_is_on_a_page() -> None:
    general = {*COMMON_OPTIONS, "input_shapes", "on_compile_error", "prune"}
    assert sorted(word for word in general if not is_named(word, spans(OPTIONS))) == []
    for name in BUILTIN:
        pages = [page for page in DOCS if "/accelerators/" in page.name and f"`{name}`" in " ".join(page.headings)]
        assert pages, f"{name} is in no heading of docs/accelerators/"
        own = Registry().find(name).own_options.keys() - COMMON_OPTIONS.keys()
        assert sorted(word for word in own if not is_named(word, spans(*pages))) == [], name
        assert is_named(name, spans(README))


def test_every_command_of_the_console_script_is_on_a_page() -> None:
    (script,) = entry_points(group="console_scripts", name="pytest-accel")
    commands: dict[str, str] = {}  # the help of each command without commands of its own
    waiting = [""]
    while waiting:
        command = waiting.pop()
        text = _help_of(script, command)
        if below := re.findall(r"^    ([a-z]+) ", text, re.MULTILINE):
            waiting += [f"{command} {name}".strip() for name in below]
        else:
            commands[f"pytest-accel {command}"] = text
    words = {
        *commands,
        *(option for text in commands.values() for option in re.findall(r"^  .*?(--[\w-]+)", text, re.M)),
    }
    assert {"pytest-accel baseline show", "pytest-accel advise", "--older-than"} <= words
    assert sorted(word for word in words - {"--help"} if not is_named(word, spans(OPTIONS))) == []


def _help_of(script: EntryPoint, command: str) -> str:
    code = f"from {script.module} import {script.attr}; {script.attr}({[*command.split(), '--help']!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_table_of_situations_is_the_one_that_is_tested() -> None:
    tests = (ROOT / "tests" / "plugin" / "test_accel_strict.py").read_text(encoding="utf-8")
    situations = re.search(r"^\| situation \|.*?\n\n", Page("docs/ci.md").text, re.MULTILINE | re.DOTALL)
    assert situations is not None
    assert len(situations[0].strip().splitlines()) - 2 == tests.count("@STRICT\n")


def test_every_message_of_troubleshooting_is_one_that_the_code_has() -> None:
    """A message is a heading; three dots stand for what differs."""
    known = list(_texts_in_the_code())
    messages = [heading.strip("`") for heading in TROUBLE.headings if heading.startswith("`")]
    assert len(messages) > 40
    patterns = {message: ".*".join(map(re.escape, re.split(r" ?\.\.\. ?", message))) for message in messages}
    unknown = [message for message, pattern in patterns.items() if not any(re.search(pattern, text) for text in known)]
    assert unknown == []


def _texts_in_the_code() -> Iterator[str]:
    """Every string of the package, with nothing in the place of what is put in."""
    for path in sorted((ROOT / "pytest_accel").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(each.value) if isinstance(each, ast.Constant) else "" for each in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_environment_variables_are_ones_that_the_code_reads() -> None:
    known = "\n".join(_texts_in_the_code())
    named = {word for page in PAGES for word in re.findall(r"\bACCEL_[A-Z0-9_]+[A-Z0-9]", page.text)}
    assert sorted(word for word in named if word not in known) == []


# Reading


def test_the_readme_is_one_page() -> None:
    assert len(README.text.splitlines()) <= MOST_LINES_OF_README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Page) -> None:
    lost = []
    for link in page.links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.path.parent / target).resolve() if target else page.path
        there = Page(path.relative_to(ROOT).as_posix())
        if not path.exists() or (anchor and anchor not in there.anchors):
            lost.append(link)
    assert lost == []


def test_every_page_is_in_the_index_and_every_index_is_in_the_readme() -> None:
    index = Page("docs/README.md")
    listed = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    assert sorted(page.name for page in DOCS if page != index and page.path not in listed) == []
    assert "docs/README.md" in README.links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short(page: Page) -> None:
    long = {sentence: count for sentence in page.sentences if (count := word_count(sentence)) > MOST_WORDS}
    assert long == {}
    assert fmean(map(word_count, page.sentences)) <= MOST_WORDS_ON_AVERAGE
