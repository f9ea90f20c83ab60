"""The vendor's own tool on the same artefact has to say what we say."""

from __future__ import annotations

import time
from math import isinf
from typing import TYPE_CHECKING

from pytest_accel.acceptance.beside_vendor import Beside, write_inputs
from pytest_accel.acceptance.finding import Broken, Finding, NotApplicable
from pytest_accel.acceptance.rounds import Costs, Limit, Rounds, until_sure
from pytest_accel.inputs.synthetic import synthetic

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject

#: LIMIT is how far the two medians may lie apart.
LIMIT = Limit.ratio(1.05, either_way=True)
#: LOOKS are the numbers of rounds after which the answer may be clear.
LOOKS = (6, 12, 24)
#: MOST_S is the number of seconds after which no further round begins, unless it is the first.
MOST_S = 150.0
TURN_S = 0.25
TURNS = 6
#: SAMPLES is the number of samples of a call. Of one sample, what Python adds to a call can be 5 %: 0.05 ms of a
#: millisecond, which a tool with a clock of its own leaves out.
SAMPLES = 8


def check_vendor_tool(subject: Subject) -> Finding:
    """Hold where the median latency of the vendor's tool is ours within 5 %."""
    if subject.session.settings.in_process:
        raise NotApplicable("nothing is stopped in the controller's own process")
    with subject.alone():
        beside = _prepared(subject)
        tools: list[str] = []
        ends_s = time.monotonic() + MOST_S

        def play() -> Costs:
            number = len(tools) + 1
            subject.session.tell("timing it beside the vendor's tool", f"round {number}, {LOOKS[0]} to {LOOKS[-1]}")
            with subject.session.forked_client(subject.accelerator) as ours:
                played = beside.play(ours)
            tools.append(played.tool.name)
            subject.raw_answers["vendor-tool.txt"] = played.output
            return played.medians()

        found = until_sure(
            Rounds(play, is_over=lambda: time.monotonic() > ends_s),
            lambda costs: costs["ours"] / costs["theirs"],
            limit=LIMIT,
            looks=LOOKS,
        )
    if isinf(found.lower):
        return Finding(f"too few rounds in {MOST_S:.0f} s: {len(found.rounds)}", outcome="inconclusive")
    numbers = {
        "ours_p50_ms": found.typical("ours"),
        "vendor_p50_ms": found.typical("theirs"),
        "ratio": found.estimate,
        "rounds": len(found.rounds),
    }
    said = (
        f"{numbers['ours_p50_ms']:.4g} ms, {tools[0]} {numbers['vendor_p50_ms']:.4g} ms: "
        f"{found.estimate:.3f} [{found.lower:.3f}, {found.upper:.3f}] times"
    )
    if found.beyond:
        raise Broken(f"{said}; more than {LIMIT.excess:.0%} apart")
    return Finding(said, numbers, "held" if found.within else "inconclusive")


def _prepared(subject: Subject) -> Beside:
    """Compile the yardstick, and write inputs for it."""
    candidate = subject.compiled_yardstick(batch_size=SAMPLES)
    with candidate.load_shared() as loaded:
        (batch,) = synthetic(loaded.signature, candidate.variant.batch_size, batches=1)
    write_inputs(batch, subject.folder / "inputs")
    return Beside(
        subject.implementation,
        candidate.variant,
        candidate.folder,
        subject.folder / "inputs",
        TURN_S,
        TURNS,
        python=subject.python,
        waiting=subject.session.tell.tick,
    )
