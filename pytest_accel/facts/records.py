"""Frozen facts: what was measured, on what, and what was decided.

Every fact that crosses a border (the wire, a baseline, the run's record) has one of these shapes and is validated when
it enters. There is no judging here and nothing that knows pytest, files or vendors.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pytest_accel.facts.fact import AtLeastOne, Count, Fact, NotNegative, OptionValue, Positive, Scalar
from pytest_accel.facts.verdicts import SEVERITY, Verdict, VerdictKind

#: LARGEST_LOG_PACE is the logarithm of the largest ratio of two times of calls: a nanosecond beside minutes.
LARGEST_LOG_PACE = 30.0
#: SHOWN_OF_COMMIT is how many characters of a commit's hash people read.
SHOWN_OF_COMMIT = 10


class TensorSpec(Fact, frozen=True, kw_only=True):
    """One input or output: ``shape`` holds None where a dimension is dynamic, ``dtype`` is NumPy's name.

    ``batch_axis`` says which dimension is the batch, None for a tensor that belongs to the whole call. One of rank 0
    always does.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    batch_axis: int | None = 0

    def __post_init__(self) -> None:
        if self.batch_axis is not None and not 0 <= self.batch_axis < len(self.shape):
            msgspec.structs.force_setattr(self, "batch_axis", None)

    @property
    def item_shape(self) -> tuple[int | None, ...]:
        """The shape of one item: without the batch."""
        return tuple(size for axis, size in enumerate(self.shape) if axis != self.batch_axis)


class Signature(Fact, frozen=True, kw_only=True):
    """What a loaded artefact takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


#: _OF_ONE_VALUE are the options that `Variant` reads itself.
_OF_ONE_VALUE = ("batch_size", "precision", "load_shape", "concurrency", "rate")


class Variant(Fact, frozen=True, kw_only=True):
    """One choice of options for one accelerator.

    ``options`` is complete, defaults included. ``named`` lists the options that the marker spelled out; only these are
    part of ``id``, so that a new option with a default does not rename every baseline.
    """

    accelerator: str
    options: dict[str, OptionValue]
    named: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` for what was read and is no choice of options."""
        if strange := [name for name in self.named if name not in self.options]:
            raise ValueError(f"named has {strange[0]!r}, which is none of the options")
        if tables := [name for name in _OF_ONE_VALUE if isinstance(self.options.get(name), dict)]:
            raise ValueError(f"option {tables[0]!r} has entries, and takes a single value")

    @property
    def batch_size(self) -> int:
        """Items of one call; 1 where the artefact takes any number."""
        return int(self._single("batch_size") or 1)

    @property
    def precision(self) -> str:
        """The precision that was asked for, such as ``int8``."""
        return str(self.options["precision"])

    @property
    def load_shape(self) -> str:
        """How calls arrive: ``single_stream``, ``multi_stream``, ``server`` or ``offline``."""
        return str(self.options["load_shape"])

    @property
    def concurrency(self) -> int:
        """Calls in flight of a multi_stream, or lanes of a server."""
        return int(self._single("concurrency") or 1)

    @property
    def rate(self) -> float | None:
        """Calls a second that arrive at a server, None where nobody gave it."""
        rate = self._single("rate")
        return None if rate is None else float(rate)

    @property
    def id(self) -> str:
        """A short, stable, path-safe name such as ``gpu-trt-int8-b8``."""
        parts = [self.accelerator]
        for name in sorted(self.named, key=lambda option: (option != "precision", option != "batch_size", option)):
            value = self.options[name]
            if name in ("precision", "load_shape"):
                parts.append(str(value))
            elif name == "batch_size":
                parts.append(f"b{value}")
            elif isinstance(value, dict):
                parts += [_spelled(entry, value[entry]) for entry in sorted(value)]
            else:
                parts.append(_spelled(name, value))
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in "-".join(parts))

    def _single(self, name: str) -> Scalar:
        """Return the value of an option that has no entries."""
        value = self.options[name]
        return None if isinstance(value, dict) else value


def _spelled(name: str, value: Scalar) -> str:
    """Return an option and its value as a part of an id."""
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    return f"{name}{value}"


class Budgets(Fact, frozen=True, kw_only=True):
    """What a test allows: every budget of the marker, None where none was given.

    Shares and drops are fractions (0.01 is one percentage point of top-1), throughput is items per second.
    """

    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    min_throughput: float | None = None
    max_accuracy_drop: float | None = None
    min_accuracy: float | None = None
    max_flips: int | float | None = None
    max_error_ratio: float | None = None
    max_regression: float | None = None
    max_creep: float | None = None
    min_on_device: float | None = None
    max_memory_mb: float | None = None
    max_artefact_mb: float | None = None
    max_compile_s: float | None = None
    max_load_s: float | None = None

    @property
    def latency_limits_ms(self) -> dict[float, float]:
        """The latency limits given, by quantile: ``{0.99: 7.0}``."""
        quantiles = {0.5: self.p50_ms, 0.9: self.p90_ms, 0.95: self.p95_ms, 0.99: self.p99_ms, 0.999: self.p999_ms}
        return {quantile: limit for quantile, limit in quantiles.items() if limit is not None}


class Hardware(Fact, frozen=True, kw_only=True):
    """The identity of the machine and device that was used; what the fingerprint is made of.

    ``identity`` is flat: cpu model, flags that matter, cores, memory, and what the accelerator's own handle told.
    """

    fingerprint: str
    identity: dict[str, Scalar]


class Placement(Fact, frozen=True, kw_only=True):
    """Where the operators ran and in which precision, as observed.

    ``operators`` maps an operator's name to ``"<device>:<precision>"``, for example ``"gpu:float16"``; it is empty when
    the runtime gives only counts. ``on_device`` is a share of the operators, None when it cannot be known.
    """

    on_device: float | None
    precisions: dict[str, int]
    operators: dict[str, str] = msgspec.field(default_factory=dict)


class Conditions(Fact, frozen=True, kw_only=True):
    """What could have disturbed a measurement, as seen while it ran.

    ``device_state`` has the device's clocks, temperature, power and the like at the end of the timed calls.
    """

    tracing: str = ""
    in_process: bool = False
    cpu_quota_cores: float | None = None
    governor: str = ""
    foreign_load_cores: float | None = None
    throttled: str = ""
    device_state: dict[str, Scalar] = msgspec.field(default_factory=dict)


class Phases(Fact, frozen=True, kw_only=True):
    """The phases of one launch; they are never mixed."""

    compile_s: float
    compile_cached: bool
    load_s: float
    first_inference_ms: float
    warm_up_calls: int
    warm_up_s: float
    steady: bool


class Measurement(Fact, frozen=True, kw_only=True):
    """One launch's steady phase. ``latencies_ns`` is every timed call in order; nothing is trimmed.

    At most ``concurrency`` calls were in flight. Of a server, ``rate`` is how many calls a second it was asked for, and
    ``waits_ns`` the part of each latency that the call waited for a free lane. ``parts_ms`` is what a typical call
    spent on something else than computing, by name, where the accelerator tells it.
    """

    load_shape: str
    latencies_ns: Annotated[list[Count], msgspec.Meta(min_length=1)]
    items_per_call: AtLeastOne
    wall_s: Positive
    phases: Phases
    lag1_autocorrelation: float
    host_memory_mb: float | None = None
    device_memory_mb: float | None = None
    outputs_checked: int = 0
    flops_per_item: float | None = None
    conditions: Conditions = Conditions()
    concurrency: int = 1
    rate: float | None = None
    waits_ns: list[Count] = msgspec.field(default_factory=list)
    parts_ms: dict[str, float] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `ValueError` for what was read and is no measurement."""
        if self.waits_ns and len(self.waits_ns) != len(self.latencies_ns):
            raise ValueError(f"{len(self.waits_ns)} waits are not those of {len(self.latencies_ns)} calls")

    @property
    def throughput(self) -> float:
        """Items per second over the whole steady phase: items over total time, never a mean of ratios."""
        return len(self.latencies_ns) * self.items_per_call / self.wall_s

    @property
    def services_ns(self) -> list[int]:
        """How long each call took once it was made: its latency without the wait for a free lane."""
        if not self.waits_ns:
            return self.latencies_ns
        return [latency - wait for latency, wait in zip(self.latencies_ns, self.waits_ns, strict=True)]


class OutputErrors(Fact, frozen=True, kw_only=True):
    """How far one output is from the reference's. ``snr_db`` is None where the two are identical.

    ``rounding`` is the largest error of a value that rounding explains, of an output that is next to zero throughout.
    """

    name: str
    max_abs: float
    max_rel: float
    normalised_l2: float
    cosine: float
    snr_db: float | None
    rounding: float = 0.0

    @property
    def is_rounding(self) -> bool:
        """Whether rounding explains all of the error."""
        return self.max_abs <= self.rounding


#: SMALLEST_CONTROL_ERROR is the least error of a control, in normalised L2, that another error is divided by: two FP32
#: runtimes may differ by it.
SMALLEST_CONTROL_ERROR = 1e-3


class Accuracy(Fact, frozen=True, kw_only=True):
    """Candidate beside reference on the same samples.

    ``top1`` and its like are shares of correct answers, None without labels. ``flips_lost`` counts samples that the
    reference answered right and the candidate wrong; ``flips_gained`` the opposite. Without labels a flip is a changed
    arg-max and ``agreement`` is all there is. ``right`` is one bit a sample, base64 of ``numpy.packbits``.
    ``unscored`` names the floating outputs beside the one that was scored, of which right answers say nothing.
    ``mismatches`` are sentences about outputs that cannot be compared at all: a name, a shape or a kind of dtype that
    is not the reference's. ``resized`` are those about calls in which an output has another shape than the reference's,
    which only a metric can judge.

    Outputs named in ``by_call`` cannot be split into samples and were compared as each call gave them; padding is among
    their values. With ``metric_by_call`` the metric is the mean of what it gave for each call. ``non_finite`` counts
    values that are NaN or infinite on one side alone, ``shared_non_finite`` those on both. ``unrepeatable`` says why
    the outputs named in ``varying`` have no values to hold others against.

    Of a model with calibrated ranges, ``calibration_samples`` says how many samples it learnt them from, and
    ``control`` holds the errors that the same variant has when it learns them from the evaluation data. Of any other
    one, ``control`` holds the errors of the reference's framework in the same precision, where it has it.
    """

    samples: int
    dataset_digest: str
    labelled: bool
    agreement: float | None
    top1: float | None = None
    top5: float | None = None
    reference_top1: float | None = None
    reference_top5: float | None = None
    metric_name: str = ""
    metric: float | None = None
    reference_metric: float | None = None
    flips_lost: int = 0
    flips_gained: int = 0
    drop_interval: tuple[float, float] | None = None
    right: str = ""
    outputs: tuple[OutputErrors, ...] = ()
    unscored: tuple[str, ...] = ()
    non_finite: dict[str, int] = msgspec.field(default_factory=dict)
    mismatches: tuple[str, ...] = ()
    calibration_samples: int | None = None
    control: tuple[OutputErrors, ...] = ()
    shared_non_finite: dict[str, int] = msgspec.field(default_factory=dict)
    resized: tuple[str, ...] = ()
    by_call: tuple[str, ...] = ()
    metric_by_call: bool = False
    unrepeatable: str = ""
    varying: tuple[str, ...] = ()

    @property
    def error_ratio(self) -> float | None:
        """How many times the control's error the worst output has; None without a control.

        Errors are normalised L2 distances; a control below `SMALLEST_CONTROL_ERROR` counts as that.
        """
        of_control = {errors.name: max(errors.normalised_l2, SMALLEST_CONTROL_ERROR) for errors in self.control}
        ratios = (
            errors.normalised_l2 / of_control[errors.name] for errors in self.outputs if errors.name in of_control
        )
        return max(ratios, default=None)


class DuetLaunch(Fact, frozen=True, kw_only=True):
    """One fresh pair of processes: the medians of each side and of the paired log ratios candidate / pacemaker.

    ``log_pace_error`` is the standard error that the scatter of the pairs gives ``log_pace``; 0 where it is not known.
    ``pairs`` are those that count; ``disturbed_pairs`` more do not, because other processes had cores meanwhile. Where
    hardly any pair is left, all count and the launch is ``disturbed``. ``throttled`` says what held the device back.
    """

    candidate_p50_ms: Positive
    pacemaker_p50_ms: Positive
    log_pace: Annotated[float, msgspec.Meta(ge=-LARGEST_LOG_PACE, le=LARGEST_LOG_PACE)]
    pairs: AtLeastOne
    started_first: Literal["candidate", "pacemaker"]
    log_pace_error: NotNegative = 0.0
    disturbed_pairs: Count = 0
    disturbed: bool = False
    throttled: str = ""


class Duet(Fact, frozen=True, kw_only=True):
    """Several launches of candidate beside pacemaker. Paces compare only where ``pacemaker`` is the same."""

    pacemaker: str
    pacemaker_digest: str
    launches: tuple[DuetLaunch, ...]


class Ratio(Fact, frozen=True, kw_only=True):
    """Candidate time over baseline time with its interval; ``smallest_caught`` is the smallest regression it shows."""

    estimate: float
    lower: float
    upper: float
    confidence: float
    launches: int
    smallest_caught: float


class Artefact(Fact, frozen=True, kw_only=True):
    """What compiling produced. ``content_digest`` is that of its files, empty where an older release has kept it."""

    key: str
    size_mb: float
    model_digest: str
    compile_s: float
    content_digest: str = ""


class Origin(Fact, frozen=True, kw_only=True):
    """What an artefact was compiled from and with: the model, the options that bind it, the versions of the SDK."""

    model: str
    model_digest: str
    accelerator: str
    options: dict[str, OptionValue]
    versions: dict[str, str]


class Provenance(Fact, frozen=True, kw_only=True):
    """Where a result is from: code, branch and CI job. What nobody tells is empty.

    ``commit`` is the whole hash. ``dirty`` says whether files that git knows were not as in that commit; None where it
    is not known. ``job`` is an address.
    """

    commit: str = ""
    dirty: bool | None = None
    branch: str = ""
    job: str = ""

    def __str__(self) -> str:
        """Name the commit as people do, with what is to be known of it."""
        changed = " with changes" if self.dirty else ""
        return f"{self.commit[:SHOWN_OF_COMMIT]}{changed}" if self.commit else ""


class ComparedBaseline(Fact, frozen=True, kw_only=True):
    """Which baseline a check was compared with: its day, its artefact and its commit.

    ``name`` is that of a named baseline, and is empty for the default one.
    """

    saved: str
    artefact_key: str
    commit: str = ""
    name: str = ""


class Creep(Fact, frozen=True, kw_only=True):
    """The candidate beside the anchor: all that its model has become slower by since that was chosen.

    ``ratio`` is None where no undisturbed launch was played. ``changes`` are those since the anchor, a sentence each.
    """

    anchor: ComparedBaseline
    duet: Duet
    ratio: Ratio | None
    changes: tuple[str, ...] = ()


def function_of(test: str) -> str:
    """Return a test's id without its parameters."""
    return test.partition("[")[0]


class TestRecord(Fact, frozen=True, kw_only=True):
    """All that is known about one check: the unit of reports and of the run's record."""

    __test__ = False  # pytest must not collect it

    test: str
    model: str
    variant: Variant
    budgets: Budgets
    hardware: Hardware
    versions: dict[str, str]
    verdicts: tuple[Verdict, ...]
    artefact: Artefact | None = None
    placement: Placement | None = None
    measurement: Measurement | None = None
    accuracy: Accuracy | None = None
    duet: Duet | None = None
    ratio: Ratio | None = None
    baseline: str = ""
    changes: tuple[str, ...] = ()
    #: A digest of all that binds the result but the data; empty for what was not measured.
    key: str = ""
    #: When the interrupted run began that this is from; empty for what was measured now.
    resumed: str = ""
    #: What ``ratio`` and ``changes`` are measured against, where it is not the baseline.
    opponent: str = ""
    #: Where it is from. The day is that of the run.
    provenance: Provenance = Provenance()
    #: The kind of device that the model was compiled for, where it was compiled and not run; empty for other checks.
    compiled_for: str = ""
    #: The accuracy that another runtime computed with the file that was compiled. The device has not shown it.
    prediction: Accuracy | None = None
    #: The baseline that ``ratio`` and ``changes`` are measured against; None where it is an opponent, or nothing.
    beside: ComparedBaseline | None = None
    #: What has been added up since the anchor, where that was asked.
    creep: Creep | None = None
    #: How ssh reaches the machine that it was made on; empty where that is the one that pytest ran on.
    host: str = ""
    #: Launches beside the yardstick, which a baseline made of this record has; None where they were not played.
    pace: Duet | None = None

    @property
    def function(self) -> str:
        """The test without its parameters: what its variants have in common."""
        return function_of(self.test)

    @property
    def kind(self) -> VerdictKind:
        """The verdict of the whole check: the most severe of its parts."""
        return min((verdict.kind for verdict in self.verdicts), key=SEVERITY.index, default="not-measured")


class Failure(Fact, frozen=True, kw_only=True):
    """An accelerator test that failed, whether a check of it has a record or not.

    ``file`` is relative to the rootdir, ``line`` the one of the test that failed, counted from 1. ``details`` is what
    the accelerator's worker left behind: its traceback or the end of its output.
    """

    test: str
    file: str
    line: int
    message: str
    details: str = ""


class RunRecord(Fact, frozen=True, kw_only=True):
    """One test session's record, as ``--accel-report=PATH.json`` writes it.

    ``faults`` are sentences about what failed or ended the run as a whole, beside its tests.
    """

    schema: int
    version: str
    started: str
    duration_s: float
    tests: tuple[TestRecord, ...]
    absent: dict[str, str]
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    confidence: float = 0.95
    strict: bool = False
    faults: tuple[str, ...] = ()
