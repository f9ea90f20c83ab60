from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
import pytest

from pytest_accel.facts.errors import CompileFailed, UsageError
from pytest_accel.inputs.registry import Registry
from pytest_accel.processes import client
from pytest_accel.processes.host_files import HostFiles
from pytest_accel.session.compilation import cached_artefact, compile_candidate, stored_artefacts
from pytest_accel.testing import FakeAccelerator
from pytest_accel.worker.accelerator import BESIDE, Source, Target
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.unit.processes.host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_accel.session.candidate import Candidate
    from pytest_accel.worker.accelerator import CompileJob, Progress
    from tests.unit.conftest import Workshop


def test_a_second_run_compiles_nothing_and_still_knows_how_long_it_took(workshop: Workshop) -> None:
    first = workshop.compile()
    workshop.start_again()
    second = workshop.compile()
    assert (first.cached, second.cached) == (False, True)
    assert workshop.count("compile") == 1
    assert second.artefact == first.artefact
    assert second.artefact.compile_s == 2.0
    assert second.artefact.size_mb > 0


@pytest.mark.parametrize(
    ("options", "compiles"), [({"batch_size": 2}, 2), ({"precision": "int8"}, 2), ({"cores": 2}, 1)]
)
def test_only_options_that_bind_the_artefact_make_another(
    workshop: Workshop, options: dict[str, Any], compiles: int
) -> None:
    workshop.compile()
    assert workshop.compile(**options).variant.options.items() >= options.items()
    assert workshop.count("compile") == compiles


def test_spelling_a_default_out_makes_no_other_artefact(workshop: Workshop) -> None:
    assert workshop.compile().artefact.key == workshop.compile(precision="fp32").artefact.key


@pytest.mark.parametrize(
    "environment", ['{"versions": {"fake-sdk": "2.0"}}', '{"identity_facts": {"model": "Fake 2000"}}']
)
def test_another_sdk_or_another_device_makes_another(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    workshop.compile()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, environment)
    workshop.start_again()
    assert not workshop.compile().cached


def test_a_cache_tells_the_origin_of_its_artefacts_the_last_used_first(workshop: Workshop) -> None:
    older, newer = workshop.compile(precision="int8"), workshop.compile(workshop.model("newer", latency_ms=2))
    cache = workshop.session.cache
    cache.entry("reference", lambda folder: (folder / "outputs").touch(), label="no artefact")
    os.utime(cache.content(older.artefact.key).parent / "manifest.json", (1, 1))
    assert list(stored_artefacts(cache)) == [(each.artefact.key, each.origin) for each in (newer, older)]
    assert (newer.origin.model, newer.origin.versions["fake-sdk"]) == ("newer", "1.0")
    assert older.origin.options["precision"] == "int8"
    assert "cores" not in older.origin.options


def test_the_models_content_counts_and_its_name_does_not(workshop: Workshop) -> None:
    workshop.compile(workshop.model("model", latency_ms=1))
    assert workshop.compile(workshop.model("renamed", latency_ms=1)).cached
    assert not workshop.compile(workshop.model("model", latency_ms=2)).cached


def test_progress_of_the_compiler_is_told(workshop: Workshop) -> None:
    workshop.compile(batch_size=8)
    assert "compiling model for fake-b8: 100% compiled" in workshop.told


def test_a_kind_of_model_that_the_accelerator_cannot_take_is_named_with_those_it_can(workshop: Workshop) -> None:
    other = msgspec.structs.replace(workshop.model(), kind="onnx")
    with pytest.raises(UsageError, match=r"fake cannot compile .*model\.fake\.json \(onnx\); it takes: fake"):
        compile_candidate(workshop.session, other, workshop.variant())


def test_a_refused_model_leaves_nothing_in_the_cache(workshop: Workshop) -> None:
    refused = workshop.model(failures={"compile": {"how": "refused", "message": "operator Foo has no kernel"}})
    for _ in range(2):
        with pytest.raises(CompileFailed, match="operator Foo has no kernel"):
            workshop.compile(refused)
    assert workshop.count("compile") == 2
    assert workshop.session.cache.entries() == ()


def test_an_earlier_artefact_is_found_by_its_key_until_it_is_pruned(workshop: Workshop) -> None:
    candidate = workshop.compile()
    key = candidate.artefact.key
    assert cached_artefact(workshop.session.cache, key) == candidate.folder
    workshop.session.cache.release(key)
    workshop.session.cache.prune(0)
    assert cached_artefact(workshop.session.cache, key) is None


class LeavingMuch(FakeAccelerator):
    """Leaves ten megabytes beside what it compiles."""

    def compile_job(self, job: CompileJob) -> None:
        super().compile_job(job)
        beside = Path(job.artefact) / BESIDE / "deeper"
        beside.mkdir(parents=True)
        (beside / "model").write_bytes(bytes(10_000_000))


def test_what_lies_beside_an_artefact_is_kept_and_counts_for_nothing(workshop: Workshop) -> None:
    alone = workshop.compile().artefact.size_mb
    workshop.registry = Registry({"fake": f"{__name__}:{LeavingMuch.__name__}"})
    workshop.start_again()
    candidate = workshop.compile()
    assert (candidate.folder / BESIDE / "deeper" / "model").exists()
    assert candidate.artefact.size_mb == pytest.approx(alone, abs=0.001)


class Converting(FakeAccelerator):
    """Copies a draft before it compiles it, for each batch size anew."""

    sources: ClassVar[tuple[str, ...]] = ("fake", "draft")  # type: ignore[assignment]  # the fake's is narrower
    converts: ClassVar[Mapping[str, tuple[str, ...]]] = {"draft": ("batch_size",)}

    def convert(self, source: Source, folder: str, options: Mapping[str, Any], progress: Progress) -> Source:
        self._time.advance(3e9)
        progress(None, f"converting {source.path}")
        made = shutil.copy(source.path, Path(folder) / "made.fake.json")
        return Source("fake", str(made))


def converting(workshop: Workshop, **options: Any) -> Candidate:
    draft = msgspec.structs.replace(workshop.model(), kind="draft")
    return compile_candidate(workshop.session, draft, workshop.variant(**options))


@pytest.fixture
def converter(workshop: Workshop) -> Workshop:
    workshop.registry = Registry({"fake": f"{__name__}:{Converting.__name__}"})
    workshop.start_again()
    return workshop


def test_what_is_converted_first_is_compiled_and_shared_by_variants(converter: Workshop) -> None:
    first, second = converting(converter), converting(converter, precision="int8")
    assert (converter.count("convert"), converter.count("compile")) == (1, 2)
    with second.load() as loaded:
        assert loaded.predict({"x": np.ones((1, 4), np.float32)})
    assert not second.cached
    assert first.artefact.key != second.artefact.key
    assert any("converting" in line for line in converter.told)


def test_a_conversion_is_made_anew_for_what_it_depends_on_alone(converter: Workshop) -> None:
    converting(converter)
    converting(converter, batch_size=2)
    converter.start_again()
    converting(converter, batch_size=2, precision="int8")
    assert (converter.count("convert"), converter.count("compile")) == (2, 3)


class ConvertingIntoTwo(Converting):
    """Makes two files of a draft, and compiles none of them without the other."""

    def convert(self, source: Source, folder: str, options: Mapping[str, Any], progress: Progress) -> Source:
        (Path(folder) / "weights").write_bytes(b"weights")
        return super().convert(source, folder, options, progress)

    def compile_job(self, job: CompileJob) -> None:
        assert job.source.kind != "fake" or (Path(job.source.path).parent / "weights").read_bytes() == b"weights"
        super().compile_job(job)


@pytest.mark.parametrize("far", [False, True], ids=["here", "on a host"])
def test_all_that_a_conversion_makes_is_where_it_is_compiled(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: bool
) -> None:
    if far:
        files = HostFiles(Host(tmp_path / "host").ask, lambda *_: None)
        monkeypatch.setattr(client, "FilesHere", lambda: files)
    workshop.registry = Registry({"fake": f"{__name__}:{ConvertingIntoTwo.__name__}"})
    workshop.start_again()
    with converting(workshop).load() as loaded:
        assert loaded.predict({"x": np.ones((1, 4), np.float32)})


class ConvertingForTargets(Converting):
    """Compiles for as many cores as the option names."""

    def target(self, options: Mapping[str, Any]) -> Target:
        return Target(f"{options['cores']} cores", {"compiler": "7"})


def test_a_conversion_serves_every_device_that_is_compiled_for(workshop: Workshop) -> None:
    workshop.registry = Registry({"fake": f"{__name__}:{ConvertingForTargets.__name__}"})
    workshop.start_again()
    first, second = converting(workshop, cores=1), converting(workshop, cores=2)
    assert (first.compiled_for, second.compiled_for) == ("1 cores", "2 cores")
    assert (workshop.count("convert"), workshop.count("compile")) == (1, 2)


def test_compiling_takes_as_long_as_it_would_without_a_cached_conversion(converter: Workshop) -> None:
    assert [converting(converter, precision=name).artefact.compile_s for name in ("fp32", "int8")] == [5.0, 5.0]


def test_a_kind_that_needs_no_conversion_is_compiled_as_it_is(converter: Workshop) -> None:
    assert converter.compile().artefact.compile_s == 2.0
    assert converter.count("convert") == 0


def test_another_code_of_the_accelerator_makes_another_artefact(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third party's accelerator changes how it asks its SDK, while the SDK's versions stay the same."""
    module = workshop.folder / "own_accelerator.py"
    text = "from pytest_accel.testing import FakeAccelerator\n\n\nclass Own(FakeAccelerator):\n    name = 'own'\n"
    module.write_text(text)
    monkeypatch.syspath_prepend(workshop.folder)
    workshop.registry = Registry({"fake": "own_accelerator:Own"})
    workshop.start_again()
    first = workshop.compile()
    workshop.start_again()
    assert workshop.compile().artefact.key == first.artefact.key
    module.write_text(f"{text}    calibrated = ('int8',)\n")
    workshop.start_again()
    assert workshop.compile().artefact.key != first.artefact.key
    assert workshop.count("compile") == 2


def test_what_is_compiled_for_stands_in_the_key_in_place_of_the_device(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another device and another driver find it, and another compiler or kind of device does not."""
    target = {"target": "fake-1000", "versions": {"fake-sdk": "1.0"}}
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(target))
    first = workshop.compile()
    assert first.compiled_for == "fake-1000"
    for changed, finds in (
        ({"identity_facts": {"model": "Fake 2000", "cores": 8}}, True),
        ({"versions": {"fake-sdk": "2.0"}}, False),
        ({"target": "fake-2000"}, False),
    ):
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps({**target, **changed}))
        workshop.start_again()
        assert (workshop.compile().artefact.key == first.artefact.key) == finds, changed


def test_without_a_target_it_is_compiled_for_the_hardware(workshop: Workshop) -> None:
    candidate = workshop.compile()
    assert candidate.compiled_for == candidate.hardware.fingerprint
