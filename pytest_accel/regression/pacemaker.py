"""Slower than the baseline? The candidate in a duet with a pacemaker, launch after launch, until the gate is sure.

The best pacemaker is the baseline's own artefact, while the cache still has it: then each launch gives the ratio to the
baseline directly. Otherwise it is the yardstick network, compiled by the same accelerator, whose pace the baseline has
stored. How launches become a decision is in `gate`.

The order is that of what was measured to share the noise: launches of the same artefact spread by 1 to 2 %, those of
another network in the same runtime by 0.6 to 3 %, and of the uncompiled reference, where that is another runtime, by 5
to 6 %, hardly better than no pacemaker at all. Where the reference does share the runtime it is the model itself, and
would be changed by whatever changed the model; so it is never a pacemaker.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.facts.errors import WorkerError
from pytest_accel.facts.records import Duet, DuetLaunch, Ratio, Variant
from pytest_accel.inputs.models import Model
from pytest_accel.inputs.synthetic import synthetic
from pytest_accel.machine.conditions import ForeignLoad
from pytest_accel.regression import alternation, duet
from pytest_accel.regression.duet import Side
from pytest_accel.session.candidate import renamed
from pytest_accel.session.compilation import artefact_of_baseline, compile_candidate
from pytest_accel.verdict.gate import Gate, undisturbed

if TYPE_CHECKING:
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.session.session import Session
    from pytest_accel.store.baseline import Baseline
    from pytest_accel.worker.accelerator import Arrays

#: OWN_ARTEFACT is the name in records of the pacemaker that is the baseline's own artefact.
OWN_ARTEFACT = "baseline artefact"
#: YARDSTICK is the name in records and baselines of the pacemaker that is the yardstick network.
YARDSTICK = "yardstick"
#: YARDSTICK_EDITION is the yardstick network's edition. A changed network makes paces incomparable, so it gets another
#: number.
YARDSTICK_EDITION = "1"
#: SAVED_LAUNCHES is the number of undisturbed launches beside the yardstick that a baseline stores.
SAVED_LAUNCHES = 5
#: MOST_FOR_SAVED is the number of launches that are played at most for those that a baseline stores.
MOST_FOR_SAVED = 10


@dataclass(frozen=True)
class Compared:
    """What the launches gave. ``ratio`` is None where the baseline has none to compare them with.

    ``baseline_duet`` holds the launches that the baseline stores, of a comparison beside the yardstick.
    ``foreign_load_cores`` is what other processes used during such a comparison, and ``no_artefact`` says why the
    baseline's own artefact was not used though the cache has one. ``sides`` are the candidate and the opponent, where
    that is another artefact of the same model and not the yardstick.
    """

    duet: Duet
    ratio: Ratio | None
    baseline_duet: Duet | None = None
    foreign_load_cores: float = 0.0
    no_artefact: str = ""
    sides: tuple[Side, Side] | None = None


def against_baseline(
    candidate: Candidate,
    batches: Sequence[Arrays],
    baseline: Baseline,
    gate: Gate,
    *,
    name: str = "the baseline",
    earlier: Compared | None = None,
) -> Compared | None:
    """Compare with a stored baseline; None when it has no pacemaker in common with what this machine can run.

    ``name`` is that of the baseline in lines of progress. Of an ``earlier`` comparison of the same candidate the
    launches count here too, where they were played beside the same pacemaker.
    """
    side, session = side_of(candidate, batches), candidate.session
    title = f"comparing {candidate} with {name}"
    folder, why_not = artefact_of_baseline(session.cache, baseline.artefact, baseline.variant)
    if folder is not None:
        duet, own = _begun(earlier, OWN_ARTEFACT, baseline.artefact.key), replace(side, folder=folder)
        try:
            launches = race(side, own, gate, title=title, played=duet.launches)
        except WorkerError as error:
            # An SDK may refuse what an older one compiled; the candidate itself has just run.
            why_not = f"the baseline's artefact cannot be run any more ({error})"
            session.tell(why_not)
        else:
            duet = msgspec.structs.replace(duet, launches=launches)
            return Compared(duet, gate.ratio(duet), sides=(side, own))
    baseline_duet = baseline.duet(YARDSTICK, YARDSTICK_EDITION)
    if baseline_duet is None:
        return None
    network = yardstick(session, candidate.variant)
    foreign_load = ForeignLoad(session.machine(candidate.variant.accelerator))
    duet = _begun(earlier, YARDSTICK, YARDSTICK_EDITION)
    launches = race(side, network, gate, title=title, baseline_duet=baseline_duet, played=duet.launches)
    busy_cores = max(foreign_load.cores() or 0.0, earlier.foreign_load_cores if earlier is not None else 0.0)
    duet = msgspec.structs.replace(duet, launches=launches)
    return Compared(duet, gate.ratio(duet, baseline_duet), baseline_duet, busy_cores, why_not)


def _begun(earlier: Compared | None, pacemaker: str, digest: str) -> Duet:
    """Return the launches that an earlier comparison has played beside a pacemaker, which may be none."""
    beside = (pacemaker, digest)
    if earlier is not None and (earlier.duet.pacemaker, earlier.duet.pacemaker_digest) == beside:
        return earlier.duet
    return Duet(pacemaker=pacemaker, pacemaker_digest=digest, launches=())


def fits_another(rounds: int, spent_s: float, budget_s: float) -> bool:
    """Return whether one more round, as long as those that took ``spent_s`` so far, stays within the budget."""
    return spent_s * (1 + 1 / rounds) <= budget_s


def race(
    candidate: Side,
    opponent: Side,
    gate: Gate,
    *,
    title: str,
    baseline_duet: Duet | None = None,
    played: Sequence[DuetLaunch] = (),
) -> tuple[DuetLaunch, ...]:
    """Play launches of both sides until the gate has decided, or the time budget of a comparison is spent.

    Returns them all, those that were ``played`` before among them.
    """
    session = candidate.session
    launches = list(played)
    began_s = time.monotonic()
    rng = random.Random()
    while gate.wants_more(launches, baseline_duet):
        spent_s, budget_s = time.monotonic() - began_s, session.settings.compare_budget_s
        # One launch decides nothing, so two are always played.
        new = len(launches) - len(played)
        if len(launches) >= 2 and new and not fits_another(new, spent_s, budget_s):
            break
        session.tell(title, f"launch {len(launches) + 1}, at most {max(budget_s - spent_s, 0):.0f} s more")
        launches.append(play(candidate, opponent, rng))
    return tuple(launches)


def play(candidate: Side, opponent: Side, rng: random.Random) -> DuetLaunch:
    """Play one launch, as the device allows: call beside call, or one process after the other."""
    play_launch = alternation.play if candidate.is_exclusive else duet.play
    return play_launch(candidate, opponent, rng)


def yardstick_pace(candidate: Candidate, batches: Sequence[Arrays]) -> Duet:
    """Return the candidate's pace beside the yardstick, as a baseline stores it."""
    session, side = candidate.session, side_of(candidate, batches)
    network = yardstick(session, candidate.variant)
    rng = random.Random()
    launches: list[DuetLaunch] = []
    while (kept := len(undisturbed(launches))) < SAVED_LAUNCHES and len(launches) < MOST_FOR_SAVED:
        detail = f"launch {kept + 1} of {SAVED_LAUNCHES}"
        session.tell(f"pacing {candidate} for the baseline", detail, share=kept / SAVED_LAUNCHES)
        launches.append(play(side, network, rng))
    return Duet(pacemaker=YARDSTICK, pacemaker_digest=YARDSTICK_EDITION, launches=tuple(launches))


def yardstick(session: Session, variant: Variant) -> Side:
    """Return the yardstick network, compiled by the variant's accelerator as is and run the way the variant is."""
    accelerator = variant.accelerator
    entry = session.cache.entry(
        f"yardstick-{YARDSTICK_EDITION}-{accelerator}",
        lambda folder: _write_yardstick(session, accelerator, folder),
        label=f"yardstick network for {accelerator}",
    )
    kind, name = (entry.path / "kind").read_text(encoding="utf-8").splitlines()
    model = Model(
        name="yardstick", kind=kind, path=entry.path / "network" / name, digest=f"yardstick-{YARDSTICK_EDITION}"
    )
    options = {
        name: option.default if option.compiled_in or name in ("batch_size", "signature") else variant.options[name]
        for name, option in session.registry.find(accelerator).options().items()
    }
    compiled = compile_candidate(session, model, Variant(accelerator=accelerator, options=options))
    return Side(session, accelerator, compiled.folder, options, lambda signature: synthetic(signature, 1))


def side_of(candidate: Candidate, batches: Sequence[Arrays]) -> Side:
    """Return the candidate as one side of a duet, given these batches."""
    variant = candidate.variant
    return Side(candidate.session, variant.accelerator, candidate.folder, variant.options, partial(renamed, batches))


def _write_yardstick(session: Session, accelerator: str, folder: Path) -> None:
    source = session.shared_client(accelerator).yardstick(folder / "network")
    name = Path(source.path).relative_to(folder / "network").as_posix()
    (folder / "kind").write_text(f"{source.kind}\n{name}\n", encoding="utf-8")
