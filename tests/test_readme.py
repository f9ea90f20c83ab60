"""Every example of the README is run, and its commands are what CI runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_accel.commands.main import main as pytest_accel
from pytest_accel.report.record import to_json
from pytest_accel.testing import FAKE, fake_model
from tests.unit import facts

if TYPE_CHECKING:
    from tests.models.zoo import Examples

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The contents of all fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def files(language: str, comment: str = "# ") -> dict[str, str]:
    """The blocks that begin with a file's name in a comment, by that name."""
    named = {block.partition("\n")[0].removeprefix(comment): block for block in blocks(language)}
    return {name: block for name, block in named.items() if re.fullmatch(r"[\w.-]+\.\w+", name)}


PYTHON = files("python")


def test_every_python_block_is_a_file_that_some_test_here_runs() -> None:
    assert len(blocks("python")) == len(PYTHON)
    assert sorted(PYTHON) == [
        "conftest.py",
        "my_accelerator.py",
        "test_contract.py",
        "test_parts.py",
        "test_resnet50.py",
        "test_sweep.py",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "skipped"), [("test_resnet50.py", 5), ("test_parts.py", 0)])
def test_the_marker_examples_run_on_the_cpu_and_skip_elsewhere(
    pytester: pytest.Pytester, digits_cnn: Path, digits_val: Examples, name: str, skipped: int
) -> None:
    (pytester.path / name).write_text(PYTHON[name], encoding="utf-8")
    shutil.copytree(digits_cnn, pytester.path / "models" / "resnet50")
    inputs, labels = digits_val
    pytester.makeconftest(
        f"""
        import numpy as np
        import pytest

        @pytest.fixture
        def imagenet_val():
            return np.array({inputs[:64].tolist()}, "float32"), np.array({labels[:64].tolist()})

        @pytest.fixture
        def imagenet_train():
            return np.array({inputs[64:128].tolist()}, "float32")
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1, skipped=skipped)


@pytest.mark.slow
def test_the_sweep_ends_as_a_table_like_the_one_that_is_shown(
    pytester: pytest.Pytester, digits_cnn: Path, digits_val: Examples
) -> None:
    (pytester.path / "test_sweep.py").write_text(PYTHON["test_sweep.py"], encoding="utf-8")
    shutil.copytree(digits_cnn, pytester.path / "models" / "digits_cnn")
    inputs, labels = digits_val
    np.savez(pytester.path / "val.npz", x=inputs[:64], y=labels[:64])
    np.savez(pytester.path / "train.npz", x=inputs[64:128])
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def digits_val():
            return "val.npz"

        @pytest.fixture
        def digits_train():
            return "train.npz"
        """
    )
    output = pytester.runpytest_subprocess("--accel-report=run.json").outlines
    title = "digits_cnn on cpu-ort: 12 variants of test_sweep.py::test_sweep"
    (shown,) = (block.splitlines() for block in blocks("text") if title in block)
    made = output[output.index(title) :]
    assert made[1].split() == shown[1].split()
    variants = [row.lstrip("* ").split()[1] for row in shown[2:14]]
    assert [row.lstrip("* ").split()[1] for row in made[2:14]] == variants  # verdicts are this machine's own


def test_the_accelerator_example_keeps_the_contract(pytester: pytest.Pytester) -> None:
    for name in ("my_accelerator.py", "conftest.py", "test_contract.py"):
        (pytester.path / name).write_text(PYTHON[name], encoding="utf-8")
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


def test_the_ini_example_is_accepted_as_it_stands(pytester: pytest.Pytester) -> None:
    if pytest.version_tuple < (9, 0):
        pytest.skip("native TOML settings came with pytest 9")
    (pytester.path / "pytest.toml").write_text(files("toml")["pytest.toml"], encoding="utf-8")
    interpreter = pytester.path / ".venv-neuron" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch()
    pytester.makepyfile("def test_unmarked(): pass")
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines(["accel: *; strict*", "no accelerator test ran: nothing was measured"])


@pytest.mark.parametrize(
    "command",
    [
        *re.findall(
            r"^(?:\s+- run: )?(pytest(?:-accel)? .*?)(?:\s+#.*)?$", "".join(blocks("sh") + blocks("yaml")), re.M
        ),
        *re.findall(r"`(pytest --accel-list|pytest-accel cache list|pytest-accel matrix)`", README),
    ],
)
def test_every_command_is_one_that_exists(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    program, *args = shlex.split(command.replace("${{ matrix.accelerator }}", "inf1"))
    pytester.mkdir("main").joinpath(".accel").mkdir()
    monkeypatch.chdir(pytester.mkdir("branch"))
    for machine in ("cpu", "inf1"):
        Path(f"{machine}.json").write_text(to_json(facts.run(facts.record())), encoding="utf-8")
    if program == "pytest-accel":
        assert pytest_accel([*args, *(["--cache-dir=cache"] if "cache" in args else [])]) in (0, 1)
    else:
        result = pytester.runpytest_subprocess(*args, "--collect-only", "-p", "no:cacheprovider")
        assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def test_the_recipe_for_branches_finds_a_branch_slower_than_main(pytester: pytest.Pytester) -> None:
    (recipe,) = [block for block in blocks("sh") if "git worktree" in block]
    branch = pytester.mkdir("branch")
    (branch / "conftest.py").write_text(f"def pytest_accel_accelerators(): return {{'fake': {FAKE!r}}}")
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


def test_the_table_of_situations_is_the_one_that_is_tested() -> None:
    tests = (ROOT / "tests" / "plugin" / "test_accel_strict.py").read_text(encoding="utf-8")
    situations = re.search(r"^\| situation \|.*?\n\n", README, re.MULTILINE | re.DOTALL)
    assert situations is not None
    assert len(situations[0].strip().splitlines()) - 2 == tests.count("@STRICT\n")


def test_run_it_and_test_it_are_one_line_each() -> None:
    for title in ("Run it", "Test it"):
        section = re.search(rf"^## {title}\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
        assert section is not None
        (block,) = re.findall(r"^```sh\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)
        assert len(block.splitlines()) == 1
