"""The opponent that ``--accel-against`` names, found, compiled where need be, and measured beside the candidate.

No stored number is needed, because both sides run on this device. What the launches say is decided in
`pytest_accel.verdict.gate`; how a candidate is compared with its baseline is in `pacemaker`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import CompileFailed, UnfitInput, UsageError, WorkerError
from pytest_accel.facts.records import Duet
from pytest_accel.facts.settings import Opponent
from pytest_accel.inputs.hosts import read_host
from pytest_accel.inputs.models import FILE_KINDS, SAVED_MODEL_FILES, resolve
from pytest_accel.regression.pacemaker import Compared, race, side_of
from pytest_accel.session.compilation import cached_artefact, compile_candidate, stored_artefacts
from pytest_accel.store.changes import differences

if TYPE_CHECKING:
    from pytest_accel.facts.records import Origin
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.session.session import Session
    from pytest_accel.verdict.gate import Gate
    from pytest_accel.worker.accelerator import Arrays

_WHAT = (
    "name an interpreter (popen//python=PATH, a virtual environment, or ssh=HOST//python=PATH), a model, the "
    "compile cache of another checkout, or the checkout itself"
)
_NOTHING = f"nothing would be compared, so {_WHAT}"


def opponent_named(text: str, base: Path, rootdir: Path) -> Opponent:
    """Return what the user means by ``text``, a relative path being one below ``base``.

    Raises `UsageError` where there is no such thing, or where it is the project at ``rootdir`` itself.
    """
    if not text.strip():
        raise UsageError(f"--accel-against= names nothing, as an unset variable of a CI job does; {_WHAT}")
    option = f"--accel-against={text}"
    if text.startswith("ssh="):
        return _interpreter_there(text)
    how, _, python = text.partition("//python=")
    if python:
        if how != "popen":
            raise UsageError(f"{option}: write popen//python={python}, or ssh=HOST//python={python}")
        return _interpreter(base / Path(python).expanduser(), text)
    path = base / Path(text).expanduser()
    if not path.exists():
        raise UsageError(f"{option}: there is no {path}; {_WHAT}")
    if path.resolve() == rootdir.resolve():
        raise UsageError(f"{option}: this is the checkout of this run itself; {_NOTHING}")
    if (path / "pyvenv.cfg").is_file():
        return _interpreter(path / "bin" / "python", text)
    if path.is_file():
        return _interpreter(path, text) if path.name.startswith("python") else Opponent("model", path, text)
    if any((path / file).is_file() for file in SAVED_MODEL_FILES):
        return Opponent("model", path, text)
    return Opponent("artefacts" if (path / "entries").is_dir() else "checkout", path, text)


def _interpreter_there(text: str) -> Opponent:
    """Return an interpreter on another machine, which is not asked yet."""
    try:
        host = read_host(text)
    except UsageError as error:
        raise UsageError(f"--accel-against={text}: {error}") from None
    return Opponent("interpreter", Path(host.python), text, host)


def _interpreter(path: Path, text: str) -> Opponent:
    if not path.is_file():
        raise UsageError(f"--accel-against={text}: there is no interpreter {path}")
    return Opponent("interpreter", path, text)


def against_opponent(
    candidate: Candidate, batches: Sequence[Arrays], opponent: Opponent, gate: Gate
) -> tuple[Compared, tuple[str, ...]]:
    """Compare with the opponent. The sentences say how its artefact came about differently.

    Raises `UsageError` where it has nothing to compare this candidate with, or what it has takes other inputs.
    """
    title = f"comparing {candidate} with {opponent.text}"
    side = side_of(candidate, batches)
    with _naming_opponent(candidate, opponent):
        found = _FIND[opponent.kind](candidate, opponent)
        other = replace(side, folder=found.folder, session=found.session)
        launches = race(side, other, gate, title=title)
    duet = Duet(pacemaker=opponent.text, pacemaker_digest=found.origin.model_digest, launches=launches)
    return Compared(duet, gate.ratio(duet), sides=(side, other)), differences(found.origin, candidate.origin)


@dataclass(frozen=True)
class OpponentArtefact:
    """An opponent's artefact, where it came from, and the session that runs it."""

    folder: Path
    origin: Origin
    session: Session


@contextmanager
def _naming_opponent(candidate: Candidate, opponent: Opponent) -> Iterator[None]:
    """Name the opponent in what goes wrong: the candidate itself has just been measured."""
    beside = f"{_option(opponent)} cannot be run beside {candidate.model.name}[{candidate.variant.id}]"
    try:
        yield
    except (CompileFailed, UnfitInput) as error:
        raise UsageError(f"{beside}: {error}") from None
    except WorkerError as error:
        raise WorkerError(f"{beside}: {error}", phase=error.phase, details=error.details) from None


def _in_another_interpreter(candidate: Candidate, opponent: Opponent) -> OpponentArtefact:
    """Return the same model, compiled and run there."""
    session, accelerator = candidate.session, candidate.variant.accelerator
    _require_one_machine(session, accelerator, opponent)
    if _is_own_interpreter(session, accelerator, opponent):
        raise UsageError(f"{_option(opponent)}: this is the interpreter of this run itself; {_NOTHING}")
    elsewhere = session.elsewhere(opponent.host or opponent.path)
    if (absence := elsewhere.absence(accelerator)) is not None:
        raise UsageError(f"{_option(opponent)}: {accelerator} is absent there: {absence}")
    compiled = compile_candidate(elsewhere, candidate.model, candidate.variant, candidate.calibration)
    return OpponentArtefact(compiled.folder, compiled.origin, elsewhere)


def _require_one_machine(session: Session, accelerator: str, opponent: Opponent) -> None:
    """Raise `UsageError` where the sides are on two machines, of which no ratio would say anything."""
    host = session.host_of(accelerator)
    if host is not None and opponent.host is None:
        raise UsageError(
            f"{_option(opponent)}: {accelerator} is on {host.ssh}, so name an interpreter there: "
            f"--accel-against='ssh={host.ssh}//python=PATH'"
        )
    if opponent.host is not None and (host is None or host.ssh != opponent.host.ssh):
        where = "this machine" if host is None else host.ssh
        raise UsageError(f"{_option(opponent)}: {accelerator} is on {where}, and both sides have to be on one machine")


def _is_own_interpreter(session: Session, accelerator: str, opponent: Opponent) -> bool:
    """Return whether both are one interpreter in one environment: environments link to one and the same program."""
    if opponent.host is not None:
        return opponent.host == session.host_of(accelerator)
    path, own = opponent.path, Path(session.settings.interpreters.get(accelerator, sys.executable))
    return path.parent.resolve() == own.parent.resolve() and path.resolve() == own.resolve()


def _from_a_cache(candidate: Candidate, opponent: Opponent) -> OpponentArtefact:
    """Return the artefact of the same model and variant that was used there last."""
    session = candidate.session
    if opponent.path.resolve() == session.cache.root.resolve():
        raise UsageError(f"{_option(opponent)}: this is the cache of this run itself; name that of another checkout")
    cache, wanted = session.cache_at(opponent.path), candidate.origin
    others = []
    for key, origin in stored_artefacts(cache):
        if _same_variant(origin, wanted) and (folder := cached_artefact(cache, key)) is not None:
            return OpponentArtefact(folder, origin, session)
        others.append(f"{origin.model} for {origin.accelerator}")
    raise UsageError(
        f"{_option(opponent)}: it holds no artefact of {wanted.model} for {candidate.variant.id}, only of: "
        f"{', '.join(sorted(set(others))) or 'nothing'}. Run this test there with --accel-cache-dir={opponent.text}"
    )


def _same_variant(origin: Origin, wanted: Origin) -> bool:
    """Return whether two artefacts are of one model and variant, but for options that one release does not know."""
    same_options = all(origin.options.get(name, value) == value for name, value in wanted.options.items())
    return same_options and (origin.model, origin.accelerator) == (wanted.model, wanted.accelerator)


def _compiled_here(candidate: Candidate, opponent: Opponent) -> OpponentArtefact:
    """Another model, compiled as the candidate was."""
    return _compiled_from(opponent.path, candidate, opponent)


def _from_a_checkout(candidate: Candidate, opponent: Opponent) -> OpponentArtefact:
    """Return the model at the candidate's own place in another checkout."""
    rootdir, path = candidate.session.settings.rootdir, candidate.model.path
    if not path.is_relative_to(rootdir) or path.is_relative_to(candidate.session.cache.root):
        raise UsageError(
            f"{_option(opponent)}: {candidate.model.name} is no file of this project, so it cannot be found in another "
            "checkout. Run this test there with --accel-cache-dir=DIR, and compare with that: --accel-against=DIR"
        )
    model = opponent.path / path.relative_to(rootdir)
    if not model.exists():
        raise UsageError(f"{_option(opponent)}: there is no {model}; {_WHAT}")
    return _compiled_from(model, candidate, opponent)


def _compiled_from(path: Path, candidate: Candidate, opponent: Opponent) -> OpponentArtefact:
    session = candidate.session
    if path.samefile(candidate.model.path):
        raise UsageError(f"{_option(opponent)}: {path} is the model of this test itself; {_NOTHING}")
    kinds = {**FILE_KINDS, **session.registry.find(candidate.variant.accelerator).file_kinds}
    model = resolve(path, name=candidate.model.name, cache=session.cache, base=session.settings.rootdir, kinds=kinds)
    compiled = compile_candidate(session, model, candidate.variant, candidate.calibration)
    return OpponentArtefact(compiled.folder, compiled.origin, session)


def _option(opponent: Opponent) -> str:
    return f"--accel-against={opponent.text}"


_FIND: Mapping[str, Callable[[Candidate, Opponent], OpponentArtefact]] = {
    "interpreter": _in_another_interpreter,
    "artefacts": _from_a_cache,
    "model": _compiled_here,
    "checkout": _from_a_checkout,
}
