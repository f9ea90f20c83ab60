"""What a person reads in the terminal: the header, a line for each variant, and the notes below them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pytest_accel import stats
from pytest_accel.facts.records import FAILING, LEFT_OUT, UNDECIDED, TestRecord
from pytest_accel.verdict import interval

if TYPE_CHECKING:
    from pytest_accel.facts.records import Accuracy, Measurement
    from pytest_accel.facts.settings import Settings


#: What a note says, beside the line or row of the variant.
TOLD = UNDECIDED | {"improved", "refused"}
#: Columns of the summary that every line has: verdict and name.
NAMED = 2
#: Variants that a note names.
MOST_NAMED = 5


def header(settings: Settings) -> str:
    """One line for pytest's header."""
    wanted = ", ".join(settings.accelerators) if settings.accelerators else "all"
    parts = [f"accelerators: {wanted}", f"baselines: {_relative(settings)}"]
    parts.append(f"confidence: {100 * settings.confidence:.4g}%")
    parts += [word for word, said in (("strict", settings.strict), ("in process", settings.in_process)) if said]
    if settings.against is not None:
        parts.append(f"against {settings.against.said}")
    if settings.resume:
        parts.append("resuming")
    if settings.save:
        parts.append(f"saving baselines ({settings.save})")
    return "accel: " + "; ".join(parts)


def _relative(settings: Settings) -> str:
    try:
        return f"{settings.baseline_dir.relative_to(settings.rootdir)}"
    except ValueError:
        return str(settings.baseline_dir)


def colour(record: TestRecord) -> str:
    """The terminal writer's markup for a record's verdict."""
    if record.kind in FAILING:
        return "red"
    return "yellow" if record.kind in UNDECIDED | LEFT_OUT else "green"


def summary(records: Sequence[TestRecord], confidence: float) -> list[str]:
    """A line for each variant, in columns: verdict, p50 and p99 with bounds, throughput, ratio, accuracy.

    One that was never compiled has the reason in place of all these.
    """
    rows = [_cells(record, confidence) for record in records]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for record, row in zip(records, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
        if record.artefact is None:
            cells[NAMED:] = [verdict.summary for verdict in record.verdicts[:1]]
        lines.append("  ".join(cells).rstrip())
    return lines


def _cells(record: TestRecord, confidence: float) -> list[str]:
    name = f"{record.model}[{record.variant.id}]"
    resumed = "(resumed)" if record.resumed else ""
    return [record.kind, name, *_latency(record, confidence), _ratio(record), _accuracy(record), resumed]


def _latency(record: TestRecord, confidence: float) -> Iterator[str]:
    if record.measurement is None:
        yield from ("", "", "")
        return
    for percentile, bound in latency_bounds(record.measurement, confidence):
        upper = f" (≤ {bound.upper:.4g})" if bound.upper is not None else ""
        yield f"p{percentile} {bound.estimate:.4g} ms{upper}"
    yield f"{record.measurement.throughput:.4g}/s"


def latency_bounds(measurement: Measurement, confidence: float) -> Iterator[tuple[int, stats.QuantileBound]]:
    """The percentiles that are told, in milliseconds."""
    # In the order of the calls: the bound is wider where slow calls came in clusters.
    milliseconds = [nanoseconds / 1e6 for nanoseconds in measurement.latencies_ns]
    return ((percentile, stats.quantile_bound(milliseconds, percentile / 100, confidence)) for percentile in (50, 99))


def _ratio(record: TestRecord) -> str:
    if record.ratio is None:
        return ""
    return f"×{record.ratio.estimate:.3f} {interval(record.ratio)} of {record.opponent or 'baseline'}"


def _accuracy(record: TestRecord) -> str:
    score = score_of(record.accuracy)
    if score is None:
        return ""
    change = f" ({score.change}{' points' if score.unit else ''})" if score.change else ""
    return f"{score.name} {score.value}{score.unit}{change}"


class Score(NamedTuple):
    """A measure of accuracy as text. ``unit`` is "%" or empty; ``change`` is from the reference's, in points for "%".

    ``users`` says that the user's own metric was taken.
    """

    name: str
    value: str
    unit: str = ""
    change: str = ""
    users: bool = False


def score_of(accuracy: Accuracy | None) -> Score | None:
    """The best measure of accuracy there is."""
    if accuracy is None:
        return None
    if accuracy.metric is not None and accuracy.reference_metric is not None:
        change = accuracy.metric - accuracy.reference_metric
        return Score(accuracy.metric_name, f"{accuracy.metric:.4g}", change=f"{change:+.2g}", users=True)
    if accuracy.top1 is not None and accuracy.reference_top1 is not None:
        points = 100 * (accuracy.top1 - accuracy.reference_top1)
        return Score("top-1", f"{100 * accuracy.top1:.2f}", "%", f"{points:+.2f}")
    if accuracy.agreement is not None:
        return Score("agreement", f"{100 * accuracy.agreement:.2f}", "%")
    if accuracy.outputs:
        return Score("error", f"{max(output.normalised_l2 for output in accuracy.outputs):.2g}")
    return None


def notes(records: Iterable[TestRecord]) -> Iterator[str]:
    """What a passing run still has to say, each once for all it holds for.

    That is what was not decided, what got better, and what compilers refused, in their words.
    """
    said: dict[str, list[str]] = {}
    for record in records:
        for verdict in record.verdicts:
            if verdict.kind in TOLD:
                words = " ".join((verdict.summary, *verdict.details)) if verdict.kind == "refused" else verdict.summary
                said.setdefault(f"{verdict.kind}: {words}", []).append(f"{record.model}[{record.variant.id}]")
    return (f"{what} ({_few(names)})" for what, names in said.items())


def _few(names: Sequence[str]) -> str:
    named, more = names[:MOST_NAMED], len(names) - MOST_NAMED
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def savings(records: Iterable[TestRecord]) -> Iterator[str]:
    """What became of each baseline that this run was to save."""
    return (record.baseline for record in records if record.baseline)


def resumptions(records: Iterable[TestRecord]) -> Iterator[str]:
    """How many results are from each run that was interrupted."""
    for began, count in Counter(record.resumed for record in records if record.resumed).items():
        results = f"{count} results are" if count > 1 else "1 result is"
        yield f"resumed: {results} from the run of {began}, which was interrupted"


def waits(waits_s: Mapping[str, float]) -> Iterator[str]:
    """How long tests waited for a device in all, and which."""
    if waits_s:
        seconds = f"{sum(waits_s.values()):.0f} s"
        yield f"waited {seconds} in all for a device that another pytest-accel process used ({_few(list(waits_s))})"


def absences(absent: Mapping[str, str]) -> Iterator[str]:
    """A line for each accelerator that tests asked for and this machine has not."""
    for name, reason in sorted(absent.items()):
        yield f"{name} absent: {reason}"
