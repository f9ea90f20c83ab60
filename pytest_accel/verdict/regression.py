"""Is the model slower than its baseline, or than the anchor, and if so, what slowed down?

The decision itself is `gate.Gate`'s; here it becomes a sentence with its interval, what it could have missed and
whether the pacemaker slowed down too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import median
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pytest_accel.facts.records import SHOWN_OF_COMMIT
from pytest_accel.facts.verdicts import ACCEPT_COMMAND, Verdict
from pytest_accel.verdict.gate import WIDEST, undisturbed
from pytest_accel.verdict.plausibility import unless_disturbed

if TYPE_CHECKING:
    from pytest_accel.facts.records import ComparedBaseline, Duet, Ratio
    from pytest_accel.verdict.gate import Gate

#: DRIFT is the change of a pacemaker's own time, as a share, from which on it points at the machine or the SDK.
DRIFT = 0.05


def judge_regression(
    ratio: Ratio | None,
    gate: Gate,
    *,
    opponent: str = "",
    took_turns: bool = True,
    attribution: str = "",
    disturbed: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> list[Verdict]:
    """Say what the gate has decided about ``opponent``, the baseline by default, with the sentence of `attribution`.

    ``took_turns`` says that the opponent itself ran beside the candidate, and not the yardstick in its place.
    ``disturbed`` holds the reasons why the launches cannot show a regression (`disturbances` of the measurement),
    ``left_out`` the sentences about those that did not count (`left_out`).
    """
    if ratio is None:
        summary = (
            f"The ratio to {opponent or 'the baseline'} is not known: an undisturbed launch on either side is needed."
        )
        return [
            Verdict(
                kind="inconclusive",
                question="regression",
                summary=summary,
                details=tuple(left_out),
                since_baseline=not opponent,
            )
        ]
    decision, limit = gate.decide(ratio), 1.0 + gate.max_regression
    against = {"regressed": ">", "pass": "<", "improved": "<", "inconclusive": "around"}[decision]
    time = f"the time of {opponent}" if opponent else "the baseline's time"
    summary = (
        f"{ratio.estimate:.3f} times {time} {interval(ratio)} with "
        f"{100 * ratio.confidence:.4g} % confidence ({ratio.launches} launches); {against} {limit:g}."
    )
    if decision == "improved" and not opponent:
        summary += f" Until it is renewed, a model {limit / ratio.upper - 1:.0%} slower than this one would pass."
    details = [
        f"A regression of {ratio.smallest_caught:.1%} would have been caught."
        if ratio.smallest_caught < WIDEST
        else "So few launches would have caught no regression."
    ]
    details += left_out
    if decision == "inconclusive":
        more = gate.more_launches(ratio)
        hint = f"About {more} more launches would decide." if more else "It lies too close to the limit to be decided."
        details.append(hint)
    if decision == "regressed" and opponent and took_turns:
        details.append("Both sides took turns on this device, so it is what differs between them, not the machine.")
    if decision == "improved" and not opponent:
        details.append(f"Keep the gain: --accel-save-baseline, or {ACCEPT_COMMAND}, makes it the new baseline.")
    if attribution:
        details.append(attribution)
    verdict = Verdict(
        kind=decision,
        question="regression",
        summary=summary,
        details=tuple(details),
        since_baseline=not opponent,
    )
    return [unless_disturbed(verdict, disturbed)]


def judge_creep(
    ratio: Ratio | None,
    gate: Gate,
    *,
    anchor: ComparedBaseline,
    took_turns: bool,
    disturbed: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> list[Verdict]:
    """Say what the gate has decided about all that was added since the anchor. The arguments are `judge_regression`'s.

    No gain is told: an anchor does not move for one.
    """
    (answer,) = judge_regression(
        ratio, gate, opponent=_named(anchor), took_turns=took_turns, disturbed=disturbed, left_out=left_out
    )
    details = answer.details
    if answer.kind == "regressed":
        details += (
            "It has added up since then: each change alone may have kept max_regression.",
            "To accept it, move the anchor: pytest-accel baseline anchor NAME.",
        )
    return [
        replace(answer, kind="pass" if answer.kind == "improved" else answer.kind, question="creep", details=details)
    ]


def no_anchor(name: str, fingerprint: str) -> list[Verdict]:
    """Return the answer about creep where there is no anchor, or where the one of this ``name`` lacks the variant."""
    summary = "max_creep is not judged: there is no anchor; pytest-accel baseline anchor NAME chooses one."
    if name:
        summary = (
            f"max_creep is not judged: the anchor {name} has no baseline for {fingerprint}; "
            f"--accel-save-baseline={name} adds it."
        )
    return [Verdict(kind="no-baseline", question="creep", summary=summary)]


def _named(anchor: ComparedBaseline) -> str:
    """Return the name of an anchor with its day and commit."""
    commit = f", commit {anchor.commit[:SHOWN_OF_COMMIT]}" if anchor.commit else ""
    return f"the anchor {anchor.name} of {anchor.saved}{commit}"


def left_out(duet: Duet, baseline_duet: Duet | None) -> tuple[str, ...]:
    """Return sentences about the launches of both that do not count, because something disturbed all of them."""
    sentences = []
    if disturbed := len(duet.launches) - len(undisturbed(duet.launches)):
        some = f"{disturbed} of {len(duet.launches)}"
        held_back = next((each.throttled for each in duet.launches if each.disturbed and each.throttled), "")
        if held_back:
            sentences.append(f"The device was held back during {some} launches, which do not count: {held_back}.")
        else:
            sentences.append(f"Other processes had this model's cores during {some} launches, which do not count.")
    if baseline_duet is not None and not undisturbed(baseline_duet.launches):
        renew = "--accel-save-baseline on a quieter machine renews it"
        sentences.append(f"When the baseline was saved, they had them during all of its launches; {renew}.")
    return tuple(sentences)


def other_pacemaker(no_artefact: str) -> tuple[str, ...]:
    """Return a sentence about the reason why the baseline's own artefact was no pacemaker; none without a reason."""
    if not no_artefact:
        return ()
    renew = "--accel-save-baseline renews it"
    return (f"Compared beside the yardstick, because {no_artefact}; {renew}.",)


def times(ratio: Ratio) -> str:
    """Return a ratio with its interval as text, such as ``×1.302 [1.167, 1.453]``."""
    return f"×{ratio.estimate:.3f} {interval(ratio)}"


def interval(ratio: Ratio) -> str:
    """Return the ends of a ratio as text; a bound that the launches were too few for is none."""
    lower = f"{ratio.lower:.3f}" if ratio.lower > 1.0 / WIDEST else "–"
    upper = f"{ratio.upper:.3f}" if ratio.upper < WIDEST else "–"
    return f"[{lower}, {upper}]"


def attribution(
    duet: Duet, baseline: Duet, *, version_changes: Sequence[str], pacemaker_is_baseline: bool = False
) -> str:
    """Return whether the pacemaker slowed down since the baseline too, and what that means; empty when nothing did.

    ``pacemaker_is_baseline``: the pacemaker is the baseline's own artefact, whose time then was the candidate's.
    """
    candidate_then = median(launch.candidate_p50_ms for launch in baseline.launches)
    pacemaker_then = median(launch.pacemaker_p50_ms for launch in baseline.launches)
    candidate = median(launch.candidate_p50_ms for launch in duet.launches) / candidate_then
    pacemaker = median(launch.pacemaker_p50_ms for launch in duet.launches)
    pacemaker /= candidate_then if pacemaker_is_baseline else pacemaker_then
    if max(candidate, pacemaker) <= 1.0 + DRIFT:
        return ""
    times = f"{candidate:.2f} and {pacemaker:.2f} times the baseline's time"
    if pacemaker <= 1.0 + DRIFT:
        return f"Candidate and pacemaker took {times}: it is the model or how it was compiled, not the machine."
    if candidate <= 1.0 + DRIFT:
        return f"Candidate and pacemaker took {times}: only the pacemaker is slower."
    sdk = f"the SDK ({'; '.join(version_changes)})"
    if candidate / pacemaker > 1.0 + DRIFT:
        shared = sdk if version_changes else "the machine, as no version changed"
        rest = "the rest is the model or how it was compiled"
        return f"Candidate and pacemaker took {times}. What both share is {shared}; {rest}."
    cause = f"it is {sdk}" if version_changes else "no version changed, so it is the machine"
    return f"Candidate and pacemaker took {times}, both are slower: {cause}."


def no_baseline(fingerprint: str, elsewhere: Collection[str]) -> list[Verdict]:
    """Return the answer where this hardware has no baseline; ``elsewhere`` are the fingerprints that have one."""
    save = "--accel-save-baseline writes one"
    if not elsewhere:
        summary = f"No baseline for {fingerprint}; {save}."
        return [Verdict(kind="no-baseline", question="regression", summary=summary)]
    summary = f"No baseline for {fingerprint}, only from other hardware: {', '.join(sorted(elsewhere))}; {save}."
    return [Verdict(kind="incomparable", question="regression", summary=summary)]


def with_baseline(verdicts: Collection[Verdict]) -> tuple[Verdict, ...]:
    """Return the same answers once this run has become the baseline: there is nothing left to miss one for.

    What has changed in an artefact that was not run is accepted by that.
    """
    missed = [
        verdict
        for verdict in verdicts
        if verdict.question != "creep" and (_is_missing(verdict) or _is_undecided_change(verdict))
    ]
    return _passed(verdicts, missed, "This run is the baseline from now on.")


def with_anchor(verdicts: Collection[Verdict]) -> tuple[Verdict, ...]:
    """Return the same answers once the anchor has this run, which it had nothing of before."""
    missed = [verdict for verdict in verdicts if verdict.question == "creep" and _is_missing(verdict)]
    return _passed(verdicts, missed, "The anchor has this run from now on.")


def _passed(verdicts: Collection[Verdict], missed: Collection[Verdict], summary: str) -> tuple[Verdict, ...]:
    """Return the same answers, but those that were ``missed`` pass."""
    return tuple(
        Verdict(kind="pass", question=verdict.question, summary=summary) if verdict in missed else verdict
        for verdict in verdicts
    )


def _is_missing(verdict: Verdict) -> bool:
    return verdict.kind in ("no-baseline", "incomparable")


def _is_undecided_change(verdict: Verdict) -> bool:
    return (verdict.question, verdict.kind) == ("regression", "inconclusive")


def no_pacemaker(saved: str, anchor: str = "") -> list[Verdict]:
    """Return the answer where the baseline, or the anchor, has nothing that could run here beside the candidate."""
    lost = "has no pace beside the yardstick, and the cache no longer has its artefact."
    if anchor:
        return [Verdict(kind="incomparable", question="creep", summary=f"The anchor {anchor} {lost}")]
    summary = f"The baseline of {saved} {lost}"
    renew = "--accel-save-baseline renews it."
    return [Verdict(kind="incomparable", question="regression", summary=summary, details=(renew,))]
