from __future__ import annotations

import msgspec

from pytest_accel.facts.verdicts import Verdict, VerdictKind
from pytest_accel.report.notes import absences, changes, comparisons, notes, savings
from tests.unit import facts


def verdict(kind: VerdictKind, summary: str = "A sentence.") -> Verdict:
    return Verdict(kind=kind, question="sla", summary=summary)


def test_what_a_compiler_refused_is_noted_in_all_its_words() -> None:
    words = Verdict(kind="refused", question="measurement", summary="No such operator.", details=("Erf", "node 5"))
    assert list(notes([facts.record(verdicts=(words,))])) == [
        "refused: No such operator. Erf node 5 (resnet50[gpu-trt-int8-b8])"
    ]


def test_a_green_run_still_tells_what_was_not_decided_and_what_got_better() -> None:
    verdicts = tuple(verdict(kind, kind.upper()) for kind in ("pass", "sla-breach", "inconclusive", "improved"))
    assert list(notes([facts.record(verdicts=verdicts)])) == [
        "inconclusive: INCONCLUSIVE (resnet50[gpu-trt-int8-b8])",
        "improved: IMPROVED (resnet50[gpu-trt-int8-b8])",
    ]


def test_what_holds_for_several_variants_is_said_once() -> None:
    records = [facts.record(model=model, verdicts=(verdict("no-baseline", "No baseline."),)) for model in ("a", "b")]
    (note,) = notes(records)
    assert note == "no-baseline: No baseline. (a[gpu-trt-int8-b8], b[gpu-trt-int8-b8])"
    (note,) = notes(records * 4)
    assert note.endswith("a[gpu-trt-int8-b8] and 3 more)")


def test_outputs_that_have_no_samples_are_named_with_the_variants_that_give_them() -> None:
    split = facts.record()
    assert split.accuracy is not None
    by_call = msgspec.structs.replace(split.accuracy, by_call=("boxes",))
    records = [facts.record(model=model, accuracy=by_call) for model in ("a", "b")]
    assert list(comparisons([split, *records, facts.record(accuracy=None)])) == [
        "compared call by call, since it cannot be split into samples: output 'boxes' "
        "(a[gpu-trt-int8-b8], b[gpu-trt-int8-b8])"
    ]


def test_only_records_that_were_to_be_saved_tell_of_it() -> None:
    assert list(savings([facts.record(), facts.record(baseline="b/r.json saved")])) == ["b/r.json saved"]


def test_absent_accelerators_are_told_by_name() -> None:
    assert list(absences({"inf1": "none; go", "gpu": "no"})) == ["gpu absent: no", "inf1 absent: none; go"]


def test_what_changed_is_told_of_what_was_not_run_alone_and_once() -> None:
    changed = ("artefact size in MB: 1 -> 2", "version a: 1 -> 2")
    records = [facts.compiled(model=model, changes=changed) for model in ("a", "b")]
    assert list(changes([*records, facts.record(changes=changed), facts.compiled()])) == [
        "changed since the baseline: artefact size in MB: 1 -> 2; version a: 1 -> 2 "
        "(a[gpu-trt-int8-b8], b[gpu-trt-int8-b8])"
    ]
