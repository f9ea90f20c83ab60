"""``pytest-accel bisect`` finds the commit that made a model slower, wrong, or impossible to compile."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.commands.console import DONE, FOUND
from pytest_accel.facts.errors import AccelError, UsageError
from pytest_accel.facts.settings import Settings

if TYPE_CHECKING:
    from pytest_accel.bisect.bisection import Finding, Step
    from pytest_accel.bisect.commit_trials import CommitTrials
    from pytest_accel.bisect.commits import Repository
    from pytest_accel.bisect.kept_trials import KeptTrials
    from pytest_accel.bisect.trial import Trial
    from pytest_accel.report.progress import ProgressLine

#: _GIT_STATUS is what ``git bisect run`` takes an answer for.
_GIT_STATUS = {"good": 0, "bad": 1, "undecided": 125}
#: _GIT_STOP ends ``git bisect run``: a status from 1 to 127 would be taken for a bad commit.
_GIT_STOP = 128


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command. What follows ``--`` is for pytest and is not among them."""
    command.usage = "pytest-accel bisect [options] GOOD BAD -- TEST [pytest options]"
    command.add_argument("revisions", nargs="*", metavar="GOOD BAD", help="a commit before the change, and one with it")
    step = "judge only the checkout as it is, beside GOOD, with the exit status that `git bisect run` asks for"
    command.add_argument("--step", action="store_true", help=step)
    hunt = "what to look for; by default the most severe fault that BAD has"
    command.add_argument("--hunt", choices=("regressed", "inaccurate", "sla-breach", "refused"), help=hunt)
    confidence = "confidence of the whole answer; default: %(default)s"
    command.add_argument(
        "--confidence", type=_confidence, default=Settings.confidence, metavar="SHARE", help=confidence
    )
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
    with _ended_like_ctrl_c():
        if not arguments.step:
            return _search(arguments)
        try:
            return _step(arguments)
        except (AccelError, OSError) as error:
            print(f"pytest-accel: {error}", file=sys.stderr)
            return _GIT_STOP


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let the end that a CI job or a terminal asks for clean up as Ctrl-C does."""

    ends = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_selection(arguments: argparse.Namespace, repository: Repository) -> None:
    if not arguments.selection:
        raise UsageError("name the test behind --: pytest-accel bisect GOOD BAD -- tests/test_x.py::test_y")
    for word in arguments.selection:
        if Path(word).is_absolute() and Path(word).is_relative_to(repository.top):
            raise UsageError(f"{word}: name it relative to this folder, because each commit is in a folder of its own")


def _search(arguments: argparse.Namespace) -> int:
    from pytest_accel.bisect.bisection import Bisection
    from pytest_accel.bisect.commits import Commits, Repository

    repository = Repository(Path.cwd())
    if len(arguments.revisions) != 2:
        raise UsageError("name two commits: pytest-accel bisect GOOD BAD -- tests/test_x.py::test_y")
    _require_selection(arguments, repository)
    good, bad = map(repository.commit, arguments.revisions)
    repository.require_ancestor(good, bad)
    if repository.has_changes():
        print("note: this checkout has changes that are in no commit; they take no part")
    with _workplace(arguments, repository, (good, bad)) as (kept, trials, tell):
        if len(kept):
            print(f"going on with {len(kept)} finished runs ({kept.folder}; --reset drops them)")
        trials.make_opponent(good)
        search = Bisection(
            Commits(repository, good, bad),
            trials,
            kept,
            follow=lambda step: _tell(step, repository, tell),
            confidence=arguments.confidence,
            compare_budget_s=arguments.compare_budget,
            hunt=arguments.hunt,
        )
        finding = search.find()
        _print(finding, repository)
    return FOUND if finding.undecided else DONE


def _step(arguments: argparse.Namespace) -> int:
    """Judge the checkout as it is. Each call is a decision of its own, at the confidence that was asked for."""
    from pytest_accel.bisect.commits import Repository
    from pytest_accel.bisect.trial import FAULTS

    repository = Repository(Path.cwd())
    if len(arguments.revisions) != 1:
        raise UsageError("name the good commit alone: pytest-accel bisect --step GOOD -- tests/test_x.py::test_y")
    _require_selection(arguments, repository)
    good = repository.commit(arguments.revisions[0])
    with _workplace(arguments, repository, (good, "the checkout")) as (_, trials, tell):
        trials.make_opponent(good)
        trial = trials.in_place(Path.cwd(), confidence=arguments.confidence, compare_budget_s=arguments.compare_budget)
        tell.clear()
        answer = trial.answer(FAULTS[arguments.hunt or "regressed"])
        print(f"{answer:<9}  {_measured(trial)}")
    return _GIT_STATUS[answer]


@contextmanager
def _workplace(
    arguments: argparse.Namespace, repository: Repository, points: Sequence[str]
) -> Iterator[tuple[KeptTrials, CommitTrials, ProgressLine]]:
    """Give what has been measured of this question, what runs trials, and the line that shows progress."""
    from pytest_accel import __version__
    from pytest_accel.bisect.commit_trials import CommitTrials
    from pytest_accel.bisect.kept_trials import KeptTrials, folder_of, forget_old, held
    from pytest_accel.bisect.pytest_run import PytestRun
    from pytest_accel.report.progress import ProgressLine
    from pytest_accel.store.cache import default_root
    from pytest_accel.store.files import discard
    from pytest_accel.store.scratch import Scratch

    asked = (arguments.hunt or "", str(arguments.confidence), str(arguments.compare_budget), *arguments.selection)
    here = (__version__, sys.executable, repository.common, str(repository.prefix))
    folder = folder_of((arguments.cache_dir or default_root()).absolute(), (*here, *points, *asked))
    forget_old(folder.parent)
    repository.forget_lost_worktrees()
    tell = ProgressLine(lambda text: print(text, end="", file=sys.stderr, flush=True), rewrites=sys.stderr.isatty())
    with held(folder):
        if arguments.reset:
            discard(folder)
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Scratch()
        run = PytestRun(arguments.selection, folder / "logs", tell)
        try:
            yield KeptTrials(folder), CommitTrials(repository, run, folder, scratch.path), tell
        except KeyboardInterrupt:
            tell.clear()
            print("interrupted; the same command goes on from here", file=sys.stderr)
            raise
        finally:
            tell.clear()
            scratch.close()


def _tell(step: Step, repository: Repository, tell: ProgressLine) -> None:
    """Print a line for one decision."""
    tell.clear()
    trial, left = step.trial, step.steps_left
    how = "measured before" if step.is_kept else f"{trial.seconds:.0f} s"
    ends = f"about {left} more to make" if left else "the last one, unless one stays undecided"
    name = repository.subject(trial.point)
    print(f"{step.answer:<9}  {name}  {_measured(trial)}  {how}  ({step.title}; {ends})", flush=True)
    if step.answer == "undecided":
        print(f"{'':<9}  {trial.reason}; {trial.log}", flush=True)


def _measured(trial: Trial) -> str:
    from pytest_accel.verdict.regression import interval

    if trial.ratio is None:
        return trial.reason
    return f"×{trial.ratio.estimate:.3f} {interval(trial.ratio)}"


def _print(finding: Finding, repository: Repository) -> None:
    """Print the answer, how sure it is, and what was measured at that commit and right before it."""
    sure = f"{100 * finding.confidence:.4g} % confidence over {finding.decisions} decisions"
    if not finding.undecided:
        print(f"first commit that is {finding.fault}: {repository.subject(finding.first_bad)} ({sure})")
    else:
        print(f"the first commit that is {finding.fault} is one of these ({sure}):")
        for commit in (*finding.undecided, finding.first_bad):
            print(f"  {repository.subject(commit)}")
    for trial in finding.trials:
        place = "at" if trial.point == finding.first_bad else "before"
        print(f"  {place:<7} {repository.subject(trial.point)}: {_measured(trial)}")
