"""The contract that every accelerator keeps, as a class of tests to inherit.

    class TestMine(AcceleratorContract):
        accelerator = MyAccelerator

All of it goes through a real worker, so that it also shows that the accelerator can be shipped to an interpreter of its
own. Where the accelerator is missing, its tests are skipped with the reason of its probe.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed, UnfitInput
from pytest_accel.processes.client import Deadlines, Loaded, WorkerClient
from pytest_accel.processes.process import WorkerPool
from pytest_accel.worker.accelerator import Accelerator, Missing, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_accel.facts.fact import OptionValue
    from pytest_accel.facts.records import TensorSpec
    from pytest_accel.worker.accelerator import Arrays


#: TIMES_OFF is the factor by which the times of all operators may differ from that of a call: a profiler takes time
#: itself, threads run operators side by side, and other processes come and go.
TIMES_OFF = 8.0
#: TRIES is how often a time is looked at until it is as it should be, which a busy machine may prevent.
TRIES = 5


class AcceleratorContract:
    """Inherit, set ``accelerator``, and override what your device needs.

    ``options`` are values other than the defaults, ``deadlines`` limit compiling and everything else, and outputs of
    the same inputs may differ by the share ``rtol`` from one call to the next. A fixture of the same name replaces
    ``python`` (the interpreter to run in) or ``source`` (the model, by default the accelerator's own yardstick).
    """

    accelerator: ClassVar[type[Accelerator]]
    options: ClassVar[Mapping[str, OptionValue]] = {}
    deadlines: ClassVar[Deadlines] = Deadlines(compile_s=600.0, run_s=120.0)
    rtol: ClassVar[float] = 0.0
    batch_sizes: ClassVar[tuple[int, ...]] = (1, 3)

    @pytest.fixture(scope="class")
    @classmethod
    def python(cls) -> str:
        """The interpreter that has the SDK."""
        return sys.executable

    @pytest.fixture(scope="class")
    @classmethod
    def client(cls, python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
        """One worker for all tests of the class."""
        name = cls.accelerator.name
        pool = WorkerPool({name: python}, in_process=False, log_dir=tmp_path_factory.mktemp("log"))
        try:
            worker = pool.shared(name, f"{cls.accelerator.__module__}:{cls.accelerator.__qualname__}")
            client = WorkerClient(worker, cls.deadlines, deploys=cls.accelerator.deploys)
            found = client.probe()
            if isinstance(found, Missing):
                pytest.skip(f"{name}: {found.reason}")
            yield client
        finally:
            pool.close()

    @pytest.fixture
    def launch(self, client: WorkerClient) -> WorkerClient:
        """Give tests that were written for an earlier release the client by its former name."""
        return client

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, client: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> Source:
        """A model to compile."""
        return client.yardstick(tmp_path_factory.mktemp("source") / "model")

    @pytest.fixture(scope="class")
    @classmethod
    def artefact(cls, client: WorkerClient, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The model, compiled with the default options."""
        folder = tmp_path_factory.mktemp("artefact")
        client.compile(source, folder, cls.complete())
        return folder

    @pytest.fixture
    def loaded(self, client: WorkerClient, artefact: Path) -> Loaded:
        """The artefact, loaded anew."""
        return client.load(artefact, self.complete())

    @classmethod
    def complete(cls, **changes: OptionValue) -> dict[str, OptionValue]:
        """Return every option with its value."""
        defaults = {name: option.default for name, option in cls.accelerator.options().items()}
        return {**defaults, **cls.options, **changes}

    def test_the_probe_tells_what_was_found(self, client: WorkerClient) -> None:
        found = client.probe()
        assert not isinstance(found, Missing)
        assert found.device
        assert found.identity, "an identity without facts cannot tell two devices apart"
        assert found.peak_flops is None or found.peak_flops > 0

    def test_versions_are_told(self, client: WorkerClient) -> None:
        versions = client.versions()
        assert {"python", "numpy"} < versions.keys(), "the accelerator's own versions are what is under test"
        assert all(versions.values())

    def test_what_is_compiled_for_is_told_alike_every_time(self, client: WorkerClient) -> None:
        first, again = client.target(self.complete()), client.target(self.complete())
        assert first == again, "another machine would not find what this one has compiled"
        assert isinstance(first, Missing) or (first.device and all(first.versions.values()))

    def test_an_artefact_is_inspected_without_being_loaded(self, client: WorkerClient, artefact: Path) -> None:
        client.close()
        found = client.inspect(artefact, self.complete())
        assert found.placement is None or sum(found.placement.precisions.values()) > 0
        assert found.model is None or Path(found.model.path).is_relative_to(artefact)

    def test_every_option_is_documented_and_has_a_valid_default(self) -> None:
        for name, option in self.accelerator.options().items():
            assert option.doc, f"{name}: no doc"
            assert not option.choices or option.default in option.choices, f"{name}: default is not a choice"
            assert option.default is None or isinstance(option.default, option.type), f"{name}: default of another type"

    def test_an_unknown_kind_of_source_is_refused(self, client: WorkerClient, tmp_path: Path) -> None:
        with pytest.raises(CompileFailed, match="abacus"):
            client.compile(Source("abacus", str(tmp_path)), tmp_path / "artefact", self.complete())

    def test_an_absent_source_is_refused_by_name(self, client: WorkerClient, tmp_path: Path) -> None:
        for kind in self.accelerator.sources:
            with pytest.raises(CompileFailed, match="no-such-model"):
                client.compile(Source(kind, str(tmp_path / "no-such-model")), tmp_path / kind, self.complete())

    def test_outputs_are_what_the_signature_says(self, client: WorkerClient, loaded: Loaded) -> None:
        outputs = client.predict(made_up(loaded, rows=1))
        assert outputs.keys() == {spec.name for spec in loaded.signature.outputs}
        for spec in loaded.signature.outputs:
            assert_fits(outputs[spec.name], spec)

    def test_every_row_of_a_batch_is_answered(self, client: WorkerClient, source: Source, tmp_path: Path) -> None:
        for rows in self.batch_sizes:
            options = self.complete(batch_size=rows)
            client.compile(source, tmp_path / str(rows), options)
            loaded = client.load(tmp_path / str(rows), options)
            for name, output in client.predict(made_up(loaded, rows=rows)).items():
                assert len(output) == rows, f"{name}: {len(output)} rows for a batch of {rows}"

    def test_the_same_inputs_give_the_same_outputs(self, client: WorkerClient, loaded: Loaded) -> None:
        inputs = made_up(loaded, rows=1)
        self.assert_same(client.predict(inputs), client.predict(inputs))

    def test_other_inputs_give_other_outputs(self, client: WorkerClient, loaded: Loaded) -> None:
        one, other = (client.predict(made_up(loaded, rows=1, seed=seed)) for seed in (1, 2))
        assert any(not np.array_equal(one[name], other[name]) for name in one)

    def test_unfit_inputs_are_refused_and_do_no_harm(self, client: WorkerClient, loaded: Loaded) -> None:
        fit = made_up(loaded, rows=1)
        name = next(iter(fit))
        for unfit in (
            {f"{name}-misspelt": fit[name]},
            {**fit, name: fit[name].astype(np.complex64)},
            {**fit, name: fit[name][..., np.newaxis]},
        ):
            with pytest.raises(UnfitInput, match=name):
                client.predict(unfit)
        assert client.predict(fit)

    def test_what_is_timed_is_what_is_predicted(self, client: WorkerClient, loaded: Loaded) -> None:
        batches = [made_up(loaded, rows=1, seed=seed) for seed in (1, 2)]
        expected = [client.predict(inputs) for inputs in batches]
        client.stage(batches)
        client.warm_up(min_calls=2, min_s=0.0, max_s=0.5, window=2)
        for load_shape in ("single_stream", "offline"):
            timed = client.measure(load_shape, calls=6, checks=3)
            assert sum(timed.latencies_ns) > 0
            assert sum(timed.latencies_ns) <= timed.wall_ns, "calls cannot take longer than all of them together"
            assert len(timed.checked) == 3
            for checked in timed.checked:
                self.assert_same(checked.outputs, expected[checked.batch])

    def test_calls_side_by_side_do_not_disturb_each_other(self, client: WorkerClient, artefact: Path) -> None:
        if not self.accelerator.concurrent:
            pytest.skip(f"{self.accelerator.name} runs one call at a time")
        loaded = client.load(artefact, self.complete(concurrency=4))
        batches = [made_up(loaded, rows=1, seed=seed) for seed in range(1, 6)]
        expected = [client.predict(inputs) for inputs in batches]
        client.stage(batches)
        for timed in (
            client.measure("multi_stream", calls=100, checks=100, concurrency=4),
            client.measure("server", calls=100, checks=100, concurrency=4, rate=1e5, seed=1),
        ):
            assert min(timed.latencies_ns) > 0
            assert len(timed.checked) == 100
            for checked in timed.checked:
                self.assert_same(checked.outputs, expected[checked.batch])

    def test_an_artefact_needs_nothing_but_its_folder(
        self, client: WorkerClient, source: Source, tmp_path: Path
    ) -> None:
        options = self.complete()
        original = Path(source.path)
        copy = tmp_path / original.name
        (shutil.copytree if original.is_dir() else shutil.copyfile)(original, copy)
        client.compile(Source(source.kind, str(copy)), tmp_path / "built", options)
        inputs = made_up(client.load(tmp_path / "built", options), rows=1)
        expected = client.predict(inputs)
        client.close()
        copy.rename(tmp_path / "gone")
        (tmp_path / "built").rename(tmp_path / "moved")
        client.load(tmp_path / "moved", options)
        self.assert_same(client.predict(inputs), expected)

    def test_it_can_be_used_again_after_closing(self, client: WorkerClient, artefact: Path, loaded: Loaded) -> None:
        inputs = made_up(loaded, rows=1)
        expected = client.predict(inputs)
        client.close()
        client.load(artefact, self.complete())
        self.assert_same(client.predict(inputs), expected)

    def test_the_placement_holds_together(self, client: WorkerClient, loaded: Loaded) -> None:
        placement, flops = client.placement()
        assert placement.on_device is None or 0.0 <= placement.on_device <= 1.0
        assert all(count > 0 for count in placement.precisions.values())
        assert all(":" in where for where in placement.operators.values()), "an operator is at <device>:<precision>"
        assert flops is None or flops > 0

    def test_the_times_of_operators_add_up_to_about_that_of_a_call(self, client: WorkerClient, loaded: Loaded) -> None:
        client.stage([made_up(loaded, rows=1)])
        for _ in range(TRIES):  # other processes may have the cores while either time is taken
            times = client.operator_times(10)
            if times is None:
                pytest.skip(f"{self.accelerator.name} has no profiler that tells them")
            assert self.accelerator.profiles_operators, "or it is never asked"
            assert all(time.kind and time.ns >= 0.0 for time in times)
            assert len({(time.name, time.kind) for time in times}) == len(times)
            operators_ns = sum(time.ns for time in times)
            call_ns = min(client.measure("single_stream", calls=10, checks=1).latencies_ns)
            if call_ns / TIMES_OFF < operators_ns < call_ns * TIMES_OFF:
                return
        pytest.fail(f"{operators_ns:.0f} ns are not those of one call, which takes {call_ns} ns")

    def test_the_vendors_own_words_are_text(self, client: WorkerClient, loaded: Loaded) -> None:
        client.predict(made_up(loaded, rows=1))
        assert all(client.raw_answers().values()), "an interface that says nothing is left out"

    def assert_same(self, actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
        """Assert that two sets of outputs agree within ``rtol``."""
        assert actual.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(actual[name], expected[name], rtol=self.rtol, err_msg=name)


def made_up(loaded: Loaded, *, rows: int, seed: int = 1) -> Arrays:
    """Return distinct, non-zero inputs that fit; the first dynamic dimension has ``rows``, any other one has 8."""
    random = np.random.default_rng(seed)
    return {
        spec.name: random.uniform(1, 100, _sized(spec, rows)).astype(spec.dtype) for spec in loaded.signature.inputs
    }


def assert_fits(array: np.ndarray, spec: TensorSpec) -> None:
    """Assert that an array has the dtype and the shape that a signature says."""
    assert array.dtype.name == spec.dtype, f"{spec.name}: {array.dtype.name} instead of {spec.dtype}"
    assert array.ndim == len(spec.shape), f"{spec.name}: {array.ndim} dimensions instead of {len(spec.shape)}"
    for size, promised in zip(array.shape, spec.shape, strict=True):
        assert promised in (None, size), f"{spec.name}: shape {array.shape} instead of {spec.shape}"


def _sized(spec: TensorSpec, rows: int) -> list[int]:
    return [size if size is not None else rows if position == 0 else 8 for position, size in enumerate(spec.shape)]
