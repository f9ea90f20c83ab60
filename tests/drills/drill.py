"""One drill: a small project on the fake accelerator, a fault on purpose, and four questions that each is judged by.

Was the verdict right, was nothing lost, was nothing left, and did the message name the next action? A drill that leaves
one of them out fails, so that no row of the table is empty.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import filelock
import psutil
import pytest

from pytest_accel.store.locks import folders
from pytest_accel.testing import FAKE, fake_model
from tests.plugin.forked_runs import ForkedRun, RunServer

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: QUESTIONS are the columns of the table.
QUESTIONS = ("verdict", "lost", "left", "action")
#: TAG is the variable by which the processes of a drill are found, whoever their parent is by now.
TAG = "PYTEST_ACCEL_DRILL"
#: LIMIT_S is the number of seconds after which a run hangs.
LIMIT_S = 90.0
#: OTHER_PLUGINS are installed beside ours, and are not loaded.
OTHER_PLUGINS = ("cacheprovider", "benchmark", "hypothesispytest", "xdist", "xdist.looponfail")

TWO_TESTS = """
import pytest

@pytest.mark.accelerator("fake", p50_ms=50)
def test_broken(accel_model):
    accel_model("broken.fake.json").check()

@pytest.mark.accelerator("fake", p50_ms=50)
def test_sound(accel_model):
    accel_model("model.fake.json").check()
"""
#: TAIL_TESTS make hundreds of calls more, as a limit of a high percentile needs them.
TAIL_TESTS = TWO_TESTS.replace("p50_ms", "p99_ms")
ACCELERATORS = """
def pytest_accel_accelerators():
    return {{"fake": {accelerator!r}}}
"""
ONE_LAUNCH = """
import pytest_accel.regression.pacemaker

pytest_accel.regression.pacemaker.SAVED_LAUNCHES = 1
pytest_accel.regression.pacemaker.ForeignLoad.cores = lambda self: 0.0
"""
#: A line of a traceback through our own code, as pytest or Python writes it; the far side has files of other names.
OUR_TRACEBACK = re.compile(
    r"^(?:\S*/)?pytest_accel/\S+\.py:\d+: |File \"[^\"]*/pytest_accel/(?!worker/boot)[^\"]+\", line", re.MULTILINE
)


#: ENDS are the outcomes that a drill has to name where there are any.
ENDS = ("passed", "failed", "errors", "skipped")


class Ran(NamedTuple):
    """The end of a run: its exit status, or the negative number of the signal that ended it, and what it printed."""

    status: int
    out: str

    @property
    def outcomes(self) -> dict[str, int]:
        """How many tests passed, failed and so on."""
        with suppress(ValueError):
            return pytest.RunResult.parse_summary_nouns(self.out.splitlines())
        return {}

    @property
    def ends(self) -> dict[str, int]:
        """Those of the outcomes that a drill has to judge, for one where several are right."""
        return {name: count for name, count in self.outcomes.items() if name in ENDS}


class Beginning(TypedDict, total=False):
    """How a run begins. It is forked, unless the start of an interpreter is a part of the fault.

    With ``anew`` an interpreter is started, and so it is where words stand before its command, ``within``. A forked run
    makes ``mounts`` first, which nobody sees that it does not start. Its workers are forked too, but for those of the
    accelerators that it ``starts``. ``environment`` is added to that of the drill.
    """

    within: Sequence[str]
    anew: bool
    mounts: Sequence[str]
    starts: Sequence[str]
    environment: Mapping[str, str]


class Drill:
    """A project with a sound and a broken model, and what was found out about it."""

    def __init__(self, folder: Path, server: RunServer) -> None:
        self._server = server
        self.folder = folder / "project"
        self.folder.mkdir()
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.cache = self.folder / "cache"
        self.answers = dict.fromkeys(QUESTIONS, False)
        self.environment = {**environment(), "TMPDIR": str(self.temporary)}
        self._kept: dict[Path, bytes] = {}
        self.write("test_models.py", TWO_TESTS)
        self.write("conftest.py", ACCELERATORS.format(accelerator=FAKE))
        self.write("pytest.ini", "[pytest]\n")
        self.model()
        self.model("broken")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def model(self, name: str = "model", **script: Any) -> Path:
        """Write a model of the project. It is so slow that a warm-up takes few calls."""
        return fake_model(self.folder / f"{name}.fake.json", **{"latency_ms": 10.0, **script})

    def accelerator(self, source: str) -> None:
        """Let the accelerator be the class ``Faulty`` of this source."""
        self.write("faulty.py", source)
        self.write("conftest.py", ACCELERATORS.format(accelerator="faulty:Faulty"))

    def save_quickly(self) -> None:
        """Let a baseline have a single launch, also where a neighbour of the drill disturbs it."""
        self.write("conftest.py", (self.folder / "conftest.py").read_text(encoding="utf-8") + ONE_LAUNCH)

    # What is done

    def arguments(self, *args: str) -> list[str]:
        """Return the arguments of a run. Plugins of others, which have no part in it, take long to import."""
        return [f"--accel-cache-dir={self.cache}", *(f"-pno:{name}" for name in OTHER_PLUGINS), *args]

    def run(self, *args: str, **beginning: Unpack[Beginning]) -> Ran:
        """Run the tests to their end."""
        with self.running(*args, **beginning) as process:
            return self.end_of(process)

    def command_line(self, *args: str) -> Ran:
        """Run ``pytest-accel``."""
        code = "import sys; from pytest_accel.commands.main import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout + done.stderr)

    @contextmanager
    def running(self, *args: str, **beginning: Unpack[Beginning]) -> Iterator[subprocess.Popen[str] | ForkedRun]:
        """Have a run, in a session of its own so that a signal can reach it as a terminal's would."""
        with self._begun(self.arguments(*args), **beginning) as process:
            try:
                yield process
            finally:
                process.kill()

    def _begun(
        self,
        arguments: Sequence[str],
        *,
        within: Sequence[str] = (),
        anew: bool = False,
        mounts: Sequence[str] = (),
        starts: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str] | ForkedRun:
        everything = {**self.environment, **(environment or {})}
        if within or anew:
            return self._started([*within, sys.executable, "-m", "pytest", *arguments], everything)
        return self._server.run(arguments, self.folder, everything, mounts=mounts, starts=starts)

    def _started(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )

    def end_of(self, process: subprocess.Popen[str] | ForkedRun) -> Ran:
        """Wait for the end of a run, and fail where that does not come."""
        try:
            out, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, _ = process.communicate()
            pytest.fail(f"the run hangs:\n{out}")
        assert process.returncode is not None
        return Ran(process.returncode, out)

    def keep(self, path: Path) -> None:
        """Remember what a file holds, which the fault may not change."""
        self._kept[path] = path.read_bytes()

    # What is judged

    def verdict(self, ran: Ran, status: int | None = None, **outcomes: int) -> None:
        """Were these the outcomes, and no internal error or traceback of ours?"""
        assert {name: count for name, count in ran.outcomes.items() if name in {*outcomes, *ENDS}} == outcomes, ran.out
        assert status in (None, ran.status), ran.out
        assert "INTERNALERROR" not in ran.out, ran.out
        assert not OUR_TRACEBACK.search(ran.out), ran.out
        self.answers["verdict"] = True

    def says(self, ran: Ran, words: str) -> None:
        """Does the run say this regular expression?"""
        assert re.search(words, ran.out), f"nothing says {words!r}:\n{ran.out}"
        self.answers["action"] = True

    def nothing_lost(self, *more: Callable[[], object], passed: int = 1, args: Sequence[str] = ()) -> Ran:
        """Is every kept file as it was, and is the next run as if nothing had happened?"""
        for path, content in self._kept.items():
            assert path.read_bytes() == content, f"{path} has changed"
        for question in more:
            assert question()
        ran = self.run(*args)
        assert ran.outcomes.get("passed") == passed, ran.out
        self.answers["lost"] = True
        return ran

    def nothing_lost_in(self, ran: Ran) -> None:
        """Was the sound test of the same run measured as ever, and are the kept files as they were?"""
        for path, content in self._kept.items():
            assert path.read_bytes() == content, f"{path} has changed"
        assert re.search(r"^(?:pass|no-baseline) +model\[fake\]|no-baseline: .*model\[fake\]", ran.out, re.MULTILINE), (
            ran.out
        )
        self.answers["lost"] = True

    def nothing_left(self, *ignored: str) -> None:
        """Are processes, temporary files, half-made entries, held locks and files beside others all gone?"""
        assert_gone(lambda: [*processes_of(self.environment[TAG]), *self._server.workers()])
        assert [path.name for path in self.temporary.iterdir() if path.name != f"pytest-accel-{os.getuid()}"] == []
        for name in {"building", "in-use"} - set(ignored):
            assert sorted(path.name for path in folders(self.cache / name)) == []
        assert [path for path in self.folder.rglob("*.tmp") if path.name not in ignored] == []
        for lock in self.cache.glob("locks/*.lock"):
            with filelock.FileLock(lock, timeout=0, is_singleton=False):
                pass
        self.answers["left"] = True


def assert_gone(living: Callable[[], Sequence[psutil.Process]]) -> None:
    """Assert that none of these lives. The kernel ends orphans at once, but not in the same instant."""
    until = time.monotonic() + 5.0
    while left := living():
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.05)


def environment() -> dict[str, str]:
    """Return the environment of a run, with a tag of its own."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GITHUB_"))},
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
        TAG: secrets.token_hex(8),
    }


def processes_of(tag: str) -> Iterator[psutil.Process]:
    """Yield the processes that were started with this tag, or by one that was."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(TAG) == tag and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def can_mount() -> bool:
    """Return whether a file system of one's own can be had here, which a full and a read-only disk are made of."""
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def disks(mounts: Mapping[Path, str]) -> list[str]:
    """Return the commands of a shell that make these folders disks of their own, by options of tmpfs.

    ``ro`` makes a folder read-only with what is in it, and ``full`` one that has no more space.
    """
    lines = []
    for folder, options in mounts.items():
        if options == "ro":
            lines += [f'mount --bind "{folder}" "{folder}"', f'mount -o remount,ro,bind "{folder}"']
        elif options == "full":
            lines.append(f'mount -t tmpfs -o size=64k none "{folder}"')
            lines.append(f'{{ head -c 1000000 /dev/zero > "{folder}/filler" 2> /dev/null || true; }}')
        else:
            lines.append(f'mount -t tmpfs -o "{options}" none "{folder}"')
    return lines
