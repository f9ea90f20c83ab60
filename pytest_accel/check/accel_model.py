"""What a test holds in its hands: the ``accel_model`` fixture and the compiled models that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_accel.check.check import Check
from pytest_accel.check.compile_only import CompileOnlyCheck
from pytest_accel.check.failed import CheckFailed, require_passed
from pytest_accel.check.left_out import Unmeasured
from pytest_accel.facts.errors import NotRun, Pruned, UsageError
from pytest_accel.inputs.calibration import SAMPLES, choose
from pytest_accel.inputs.dataset_elements import as_array
from pytest_accel.inputs.models import FILE_KINDS, resolve
from pytest_accel.inputs.variants import BUDGETS, check_budgets
from pytest_accel.measuring.results import Latency
from pytest_accel.session.compilation import compile_candidate
from pytest_accel.session.compile_target import why_not_had
from pytest_accel.session.reference import Reference

if TYPE_CHECKING:
    from pytest_accel.facts.errors import CompileFailed
    from pytest_accel.facts.records import Accuracy, Measurement, Placement, TestRecord, Variant
    from pytest_accel.inputs.variants import Plan
    from pytest_accel.measuring.divergence import Divergence
    from pytest_accel.measuring.metric_of_calls import Metric
    from pytest_accel.measuring.results import HighestRate
    from pytest_accel.session.candidate import Candidate, LoadedModel
    from pytest_accel.session.session import Session


class AccelModel:
    """The fixture: compiles a source for this test's variant.

    ``on_measurement`` is called with the nanoseconds and a few facts of each measurement.
    """

    def __init__(self, session: Session, plan: Plan, *, test: str) -> None:
        self.session = session
        self.plan = plan
        self.test = test
        self.records: list[TestRecord] = []
        self.on_measurement: Callable[[Sequence[int], dict[str, Any]], None] | None = None
        self._stack = ExitStack()
        #: Whether the test has looked at speed, outputs or placement.
        self.measured_something = False
        #: Seconds that the test waited for its device; None until it has it.
        self.waited_s: float | None = None
        self._overridden: set[str] = set()
        self._compiled: list[CompiledModel] = []
        #: What the test has asked for last and may not get.
        self._asked: Unmeasured | None = None
        #: What the test has begun and not ended, and what failed in between, a clause each.
        self._begun: list[str] = []
        self._failed: list[str] = []

    @property
    def variant(self) -> Variant:
        """The accelerator and options that this run of the test is for."""
        return self.plan.variant

    def __call__(
        self,
        source: Any,
        name: str | None = None,
        *,
        calibration: Any = None,
        calibration_samples: int = SAMPLES,
        calibration_overlap: bool = False,
        **overrides: Any,
    ) -> CompiledModel:
        """Compile ``source`` for the variant, or take it from the compile cache.

        ``source`` is a SavedModel folder, a ``.keras``, ``.onnx`` or ``.pt2`` file, an in-memory Keras model or PyTorch
        module, or a callable without arguments that makes one of these; a relative path is looked for from the rootdir.
        ``name`` is the model's name in baselines and reports. ``overrides`` replace options and budgets of the marker.

        ``calibration`` is a dataset from which ``calibration_samples`` are chosen, the same ones every time, for a
        precision that needs them (INT8); other variants of the test leave it alone. Samples that accuracy is judged on
        too are an error unless ``calibration_overlap`` allows them.
        """
        with self.step(f"compiling {name or 'a model'}"):
            return self._compiled_from(source, name, calibration, calibration_samples, calibration_overlap, overrides)

    def _compiled_from(
        self,
        source: Any,
        name: str | None,
        calibration: Any,
        calibration_samples: int,
        calibration_overlap: bool,
        overrides: Mapping[str, Any],
    ) -> CompiledModel:
        session = self.session
        if self.waited_s is None:
            self.waited_s = self._stack.enter_context(session.exclusive(self.variant.accelerator))
        plan = self.plan.override(overrides, session.registry) if overrides else self.plan
        self._overridden.update(overrides)
        if overrides and (why_not := why_not_had(session, plan.variant)) is not None:
            what = "be compiled" if session.settings.compile_only else "run"
            raise UsageError(f"{plan.variant.id} cannot {what} here: {why_not}")
        session.tell(f"reading {name or 'the model'}")
        accelerator = session.registry.find(plan.variant.accelerator)
        kinds = {**FILE_KINDS, **accelerator.file_kinds}
        model = resolve(source, name=name, cache=session.cache, base=session.settings.rootdir, kinds=kinds)
        self._asked = Unmeasured(session, model, plan, self.test)
        self._prune(self._asked)
        chosen = None
        if plan.variant.precision in accelerator.calibrated:
            if calibration is None:
                raise UsageError(
                    f"{plan.variant.id} learns its ranges from data: accel_model(source, calibration=dataset)"
                )
            chosen = choose(
                calibration,
                Reference(session, model, plan.variant).signature,
                batch_size=plan.variant.batch_size,
                samples=calibration_samples,
                may_overlap=calibration_overlap,
            )
        candidate = compile_candidate(session, model, plan.variant, chosen)
        self._compiled.append(CompiledModel(self, plan, candidate))
        return self._compiled[-1]

    def _prune(self, asked: Unmeasured) -> None:
        """Raise `Pruned` where the marker allows it and a smaller batch has broken the limit."""
        plan, digest = asked.plan, asked.model.digest
        broken_limits = self.session.broken_limits
        if plan.prune and (
            reason := broken_limits.ruling_out(plan.variant, plan.budgets, test=self.test, model_digest=digest)
        ):
            self.records.append(asked.pruned(reason))
            raise Pruned(reason)

    def refused(self, error: CompileFailed) -> None:
        """Record that the compiler would not take what was asked for last."""
        if self._asked is not None:
            self.records.append(self._asked.refused(error))

    def open(self, candidate: Candidate) -> LoadedModel:
        """Load a candidate in a worker that lives as long as the test."""
        return self._stack.enter_context(candidate.load())

    def measured(self, measurement: Measurement) -> None:
        """Note that the test has measured something, and pass it on."""
        self.measured_something = True
        if self.on_measurement is not None:
            facts = {"accelerator": self.variant.accelerator, "variant": self.variant.id}
            self.on_measurement(measurement.latencies_ns, facts)

    def looked(self) -> None:
        """Note that the test has looked at the model's outputs or placement."""
        self.measured_something = True

    def require_judged(self) -> None:
        """Fail a test that would pass although nothing was measured, or although a budget was never judged."""
        if not self.measured_something:
            raise UsageError("nothing was measured: call .check(dataset) on what accel_model(source) returns")
        given = self._given_budgets
        if given and not self.records:
            raise UsageError(f"the budget {given[0]} was never judged: call .check(dataset), which judges all budgets")
        self.require_nothing_swallowed()
        if self.session.settings.strict:
            self._require_all_checked()

    @property
    def _given_budgets(self) -> list[str]:
        """The budgets that the marker or a call of the fixture names."""
        return [name for name in BUDGETS if name in self._overridden or getattr(self.plan.budgets, name) is not None]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note whether a part of the test fails: a strict run does not let the test go on as if it had not."""
        self._begun.append(name)
        try:
            yield
        except Exception as error:
            if not isinstance(error, Pruned):
                self._failed.append(f"{name} failed ({_word_for(error)})")
            raise
        finally:
            self._begun.remove(name)

    def require_nothing_swallowed(self) -> None:
        """Fail a test of a strict run that goes on after a failure, in whatever way it caught it."""
        if not self.session.settings.strict:
            return
        for failed in self._failed:
            raise UsageError(
                f"{failed} and the test went on, which --accel-strict does not allow: let that error end the test"
            )
        for begun in self._begun:
            raise UsageError(
                f"{begun} had not ended when the test did, which --accel-strict does not allow: wait for it"
            )

    def _require_all_checked(self) -> None:
        checked = {compiled.artefact_key for compiled in self._compiled if compiled.checked}
        for compiled in self._compiled:
            if compiled.artefact_key not in checked:
                raise UsageError(
                    f"{compiled.name}[{compiled.variant.id}] was compiled and never judged, which --accel-strict does "
                    "not allow: call .check(dataset) on it"
                )
        if not any(self._is_marked(record.variant) for record in self.records):
            raise UsageError(
                f"the marked variant {self.variant.id} was never judged, which --accel-strict does not allow: leave "
                "the options of the marker as they are"
            )
        for budget in self._given_budgets:
            if all(getattr(record.budgets, budget) is None for record in self.records):
                raise UsageError(
                    f"the budget {budget} was given and taken back, which --accel-strict does not allow: leave it out"
                )

    def _is_marked(self, variant: Variant) -> bool:
        """Return whether a variant has all options that the marker spells out."""
        marked = self.variant
        return all(variant.options.get(name) == marked.options[name] for name in marked.named)

    def close(self) -> None:
        """End the workers of this test."""
        self._stack.close()
        self.session.cache.release_all()  # what this test used may be evicted from now on
        self.session.tell.clear()


class CompiledModel:
    """A model compiled for one variant; it is loaded, in a fresh worker, when it is first used."""

    def __init__(self, owner: AccelModel, plan: Plan, candidate: Candidate) -> None:
        self._owner = owner
        self._plan = plan
        self._candidate = candidate
        #: Whether a check has come to a verdict, whatever that is.
        self.checked = False

    @property
    def artefact_key(self) -> str:
        """The key of the artefact in the compile cache."""
        return self._candidate.artefact.key

    @property
    def name(self) -> str:
        """The model's name in baselines and reports."""
        return self._candidate.model.name

    @property
    def variant(self) -> Variant:
        """The accelerator and options it was compiled for."""
        return self._candidate.variant

    @property
    def size_mb(self) -> float:
        """Size of the artefact in megabytes."""
        return self._candidate.artefact.size_mb

    @property
    def compile_s(self) -> float:
        """Seconds that compiling took, also when an earlier run did it."""
        return self._candidate.artefact.compile_s

    @cached_property
    def _loaded(self) -> LoadedModel:
        if self._owner.session.settings.compile_only:
            self._require_not_run()
        self._owner.session.tell(f"loading {self._candidate}")
        return self._owner.open(self._candidate)

    def predict(self, inputs: Any) -> Any:
        """Run one batch of exactly ``batch_size`` items.

        ``inputs`` is an array, or a dict of arrays by input name. Returns an array, or a dict by output name where
        there are several.
        """
        self._owner.looked()
        (only, *more) = [spec.name for spec in self._loaded.signature.inputs]
        named = inputs if isinstance(inputs, Mapping) else {only: inputs}
        if more and not isinstance(inputs, Mapping):
            raise UsageError(f"{self.name} has several inputs: pass a dict with {', '.join([only, *more])}")
        outputs = self._loaded.client.predict({name: as_array(array, name) for name, array in named.items()})
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def evaluate(self, dataset: Any = None, *, metric: Metric | None = None) -> Accuracy:
        """Accuracy on ``dataset`` beside the uncompiled reference, sample by sample; judges nothing."""
        self._owner.looked()
        return self._check().evaluate(dataset, metric)

    def measure(self, dataset: Any = None, *, calls: int | None = None) -> Latency:
        """Latency and throughput of the steady state; judges nothing.

        ``calls`` is by default what the budgets' percentiles need. Without a dataset, inputs are made up.
        """
        measurement = self._check().measure(dataset, calls)
        self._owner.measured(measurement)
        return Latency(measurement, self._owner.session.settings.confidence)

    def max_rate(self, dataset: Any = None, **limits: float) -> HighestRate:
        """Return the highest rate of calls, arriving at random, that is served within latency limits; judges nothing.

        ``limits`` are latency budgets such as ``p99_ms=15``, in place of those of the marker. The server has as many
        lanes as the variant's ``concurrency``; a latency runs from a call's arrival, and its limit must hold with
        confidence. The rate is found to a 32nd of what all lanes can answer at most. Raises `UsageError` where there is
        no limit, or where the accelerator cannot run calls side by side.
        """
        for name in limits:
            if not name.endswith("_ms"):
                raise UsageError(f"max_rate takes latency limits such as p99_ms=15, not {name}")
        found = self._check(limits).highest_rate(dataset)
        best = max(found.trials, key=lambda trial: (trial.met, trial.rate))
        self._owner.measured(best.latency.record)
        return found

    def first_divergence(self, inputs: Any = None) -> Divergence | None:
        """Return the first tensor inside the compiled model that differs from FP32's, with the operator behind it.

        FP32 itself is held against the reference. ``inputs`` is a dataset, of which the first batch is run; made-up
        inputs will do for a precision without calibration. Returns None when no tensor differs. Raises `UsageError`
        where the accelerator, or the reference of FP32, cannot show what is inside a model.
        """
        self._owner.looked()
        return self._check().first_divergence(inputs)

    def placement(self) -> Placement:
        """Return where the operators run and in which precision, as observed."""
        self._owner.looked()
        placement, _ = self._loaded.placement()
        return placement

    def check(self, dataset: Any = None, *, metric: Metric | None = None, **budgets: float) -> TestRecord:
        """Evaluate, measure, compare with the baseline, judge, and save a baseline when asked to.

        ``dataset`` is ``(inputs, labels)``, an iterable of such batches, a ``tf.data.Dataset``, a ``DataLoader``, an
        ``.npz`` path, or None for made-up inputs. ``budgets`` replace those of the marker. Raises `CheckFailed` (an
        AssertionError) with what failed, why, and the command that reproduces it.
        """
        with self._owner.step(f"a check of {self.name}[{self.variant.id}]"):
            compile_only = self._owner.session.settings.compile_only
            check = self._compile_only_check(budgets) if compile_only else self._check(budgets)
            record = check.run(dataset, metric)
            self.checked = True
            self._owner.records.append(record)
            self._owner.session.broken_limits.note(record)
            if record.measurement is not None:
                self._owner.measured(record.measurement)
            if compile_only:
                self._owner.looked()
            require_passed(record, strict=self._owner.session.settings.strict)
            return record

    def _require_not_run(self) -> NoReturn:
        """Judge what was compiled, unless a check has, and raise `NotRun`: what the test does next needs the device."""
        if not self.checked:
            self.check()
        raise NotRun(f"nothing was run, and the test asks what {self.name}[{self.variant.id}] does when it runs")

    def _compile_only_check(self, budgets: Mapping[str, float]) -> CompileOnlyCheck:
        return CompileOnlyCheck(
            self._candidate,
            plan=self._plan,
            budgets=check_budgets(self._plan.budgets, budgets),
            test=self._owner.test,
        )

    def _check(self, budgets: Mapping[str, float] | None = None) -> Check:
        return Check(
            self._loaded,
            plan=self._plan,
            budgets=check_budgets(self._plan.budgets, budgets or {}),
            test=self._owner.test,
        )


def _word_for(error: Exception) -> str:
    """Return the verdict of a check that failed, or the kind of any other error."""
    return error.record.kind if isinstance(error, CheckFailed) else type(error).__name__
