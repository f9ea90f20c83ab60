"""``pytest-accel bisect`` finds the commit or version that made a model slower, wrong, or impossible to compile."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.commands.console import DONE, FOUND, INTERRUPTED
from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.facts.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytest_accel.bisect.bisection import Judge
    from pytest_accel.bisect.commits import Repository
    from pytest_accel.bisect.search import History
    from pytest_accel.bisect.workplace import Workplace

#: _GIT_STATUS is what ``git bisect run`` takes an answer for.
_GIT_STATUS = {"good": 0, "bad": 1, "undecided": 125}
#: _GIT_STOP ends ``git bisect run``: a status from 1 to 127 would be taken for a bad commit.
_GIT_STOP = 128


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command. What follows ``--`` is for pytest, and `split` takes it away before."""
    command.usage = "pytest-accel bisect [options] GOOD BAD -- TEST [pytest options]"
    command.add_argument("revisions", nargs="*", metavar="GOOD BAD", help="a commit before the change, and one with it")
    package = "versions of a package in place of commits: NAME==GOOD..BAD, of those that pip offers"
    command.add_argument("--package", metavar="SPAN", help=package)
    deps = "with --package: also install what each version requires and this environment has not"
    command.add_argument("--with-deps", action="store_true", help=deps)
    envs = "with --package: where the environment of each version is kept; default: in the cache folder"
    command.add_argument("--envs", type=Path, metavar="DIR", help=envs)
    step = "judge only the checkout as it is, beside GOOD, with the exit status that `git bisect run` asks for"
    command.add_argument("--step", action="store_true", help=step)
    hunt = "what to look for; by default the most severe fault that BAD has"
    command.add_argument("--hunt", choices=("regressed", "inaccurate", "sla-breach", "refused"), help=hunt)
    sure = "confidence of the whole answer; default: %(default)g"
    command.add_argument("--confidence", type=_confidence, default=Settings.confidence, metavar="SHARE", help=sure)
    budget = "seconds for each comparison, twice as many at a second try; default: %(default)g"
    command.add_argument("--compare-budget", type=_seconds, default=Settings.compare_budget_s, metavar="S", help=budget)
    command.add_argument("--reset", action="store_true", help="forget what an interrupted search has measured")
    command.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: the user's cache folder")
    command.set_defaults(command=_run)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of this command, and those behind ``--`` that are for pytest."""
    at = list(words).index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at + 1 :])


def _confidence(text: str) -> float:
    value = _seconds(text)
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.5 up to less than 1")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _run(arguments: argparse.Namespace) -> int:
    try:
        with _ended_like_ctrl_c():
            return _kind_of_search(arguments)(arguments)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


def _kind_of_search(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Return what was asked for. Raises `UsageError` for options that do not go together."""
    if arguments.package is None:
        if arguments.with_deps or arguments.envs is not None:
            raise UsageError("--with-deps and --envs are about the environments of --package")
        return _step if arguments.step else _commits
    if arguments.step:
        raise UsageError("--step is about commits, so leave --package out")
    return _versions


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Clean up as after Ctrl-C where a CI job is cancelled or a terminal is closed."""
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _commits(arguments: argparse.Namespace) -> int:
    from pytest_accel.bisect.commit_trials import CommitTrials
    from pytest_accel.bisect.commits import Commits

    good, bad = _names(arguments, "GOOD BAD")
    repository = _repository(arguments)
    history = Commits(repository, repository.commit(good), repository.commit(bad))
    repository.require_ancestor(history.good, history.bad)
    if repository.has_changes():
        print("note: this checkout has changes that are in no commit; they take no part")
    with _workplace(arguments, [*_identity(repository), history.good, history.bad]) as work:
        trials = CommitTrials(repository, work.run, work.kept.folder, work.scratch)
        trials.make_opponent(history.good)
        return _search(arguments, history, trials, work)


def _versions(arguments: argparse.Namespace) -> int:
    from pytest_accel.bisect.environments import Environments
    from pytest_accel.bisect.version_trials import VersionTrials
    from pytest_accel.bisect.versions import Span, offered_versions

    _names(arguments, "")
    history = offered_versions(Span.read(arguments.package))
    place = [str(Path.cwd()), history.package, *history.versions, str(arguments.with_deps)]
    with _workplace(arguments, place) as work:
        root = (arguments.envs or _cache(arguments) / "environments").absolute()
        environments = Environments(root, history.package, arguments.with_deps, work.tell)
        opponent = environments.python(history.good, "opponent")
        trials = VersionTrials(environments, work.run, Path.cwd(), work.kept.folder / "cache", opponent)
        return _search(arguments, history, trials, work)


def _step(arguments: argparse.Namespace) -> int:
    """Judge the checkout as it is, at the confidence that was asked for. Trouble ends ``git bisect run``."""
    from pytest_accel.bisect.commit_trials import CommitTrials
    from pytest_accel.bisect.trial import FAULTS
    from pytest_accel.commands.bisect_lines import of_trial

    try:
        (good,) = _names(arguments, "GOOD")
        repository = _repository(arguments)
        commit = repository.commit(good)
        with _workplace(arguments, [*_identity(repository), commit]) as work:
            trials = CommitTrials(repository, work.run, work.kept.folder, work.scratch)
            trials.make_opponent(commit)
            trial = trials.in_place(Path.cwd(), arguments.confidence, arguments.compare_budget)
            answer = trial.answer(FAULTS[arguments.hunt or "regressed"])
            work.tell.clear()
            print(of_trial(answer, "the checkout", trial))
    except (AccelError, OSError) as error:
        print(f"pytest-accel: {error}", file=sys.stderr)
        return _GIT_STOP
    return _GIT_STATUS[answer]


def _names(arguments: argparse.Namespace, wanted: str) -> list[str]:
    """Return the revisions. Raises `UsageError` where they are not as many as are wanted, or where no test is named."""
    names: list[str] = arguments.revisions
    if len(names) != len(wanted.split()) or not arguments.selection:
        options = "--step " if arguments.step else "--package=NAME==GOOD..BAD " if arguments.package else ""
        shown = f"{options}{wanted}".strip()
        raise UsageError(f"call it so: pytest-accel bisect {shown} -- tests/test_x.py::test_y")
    return names


def _repository(arguments: argparse.Namespace) -> Repository:
    """Return the repository around this folder. Raises `UsageError` for a test that is named as a file of it."""
    from pytest_accel.bisect.commits import Repository

    repository = Repository(Path.cwd())
    for word in arguments.selection:
        if Path(word).is_absolute() and Path(word).is_relative_to(repository.top):
            raise UsageError(f"{word}: name it relative to this folder, because each commit has a folder of its own")
    repository.forget_lost_worktrees()
    return repository


def _identity(repository: Repository) -> list[str]:
    return [repository.common, str(repository.prefix)]


def _workplace(arguments: argparse.Namespace, place: Sequence[str]) -> AbstractContextManager[Workplace]:
    """Return the workplace of a question. Whatever could change its answer is part of the question."""
    from pytest_accel import __version__
    from pytest_accel.bisect.workplace import workplace

    asked = [arguments.hunt or "", str(arguments.confidence), str(arguments.compare_budget)]
    question = [__version__, sys.executable, *place, *asked]
    return workplace(_cache(arguments), question, arguments.selection, reset=arguments.reset)


def _cache(arguments: argparse.Namespace) -> Path:
    from pytest_accel.store.cache import default_root

    cache: Path = arguments.cache_dir or default_root()
    return cache.absolute()


def _search(arguments: argparse.Namespace, history: History, judge: Judge, work: Workplace) -> int:
    from pytest_accel.bisect.bisection import Bisection, Step
    from pytest_accel.commands.bisect_lines import of_finding, of_step

    def follow(step: Step) -> None:
        work.tell.clear()
        print(of_step(step, history), flush=True)

    if len(work.kept):
        print(f"going on after {len(work.kept)} runs that are kept in {work.kept.folder}; --reset drops them")
    search = Bisection(
        history,
        judge,
        work.kept,
        follow,
        confidence=arguments.confidence,
        compare_budget_s=arguments.compare_budget,
        hunt=arguments.hunt,
    )
    finding = search.find()
    for line in of_finding(finding, history):
        print(line)
    return FOUND if finding.undecided else DONE
