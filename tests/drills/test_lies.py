"""Ways to be green that are no good: each comes out red under ``--accel-strict``, or is refused, and says why.

All start from a project that is honest and green. What a lie changes may be the test, the data, the baseline, the
cache, the accelerator or the command; nobody who reads the run's last line alone may be deceived.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from pytest_accel.store.cache import Manifest, _files
from pytest_accel.testing import FAKE
from pytest_accel.worker.accelerators.fake import ENVIRONMENT_VARIABLE
from tests.formats import comment
from tests.plugin.conftest import Project, Template, fork_server, project, quick_workers, template

__all__ = ["fork_server", "project", "quick_workers", "template"]

pytestmark = pytest.mark.drill

TEST = """
import os
import numpy as np
import pytest
from threading import Thread

INPUTS = np.random.default_rng(1).normal(size=(100, 4)).astype("float32")
DATA = (INPUTS, INPUTS[:, :3].argmax(axis=1))
MODEL = "model.fake.json"

{mark}
@pytest.mark.accelerator("fake"{budgets})
def test_model(accel_model):
    {body}
"""
HONEST = "accel_model(MODEL).check(DATA)"
BUDGETS = ", p50_ms=50, max_regression=0.05, max_accuracy_drop=0.01"
#: Another test that is honest, so that the run has measured something whatever becomes of the first one.
BESIDE = """
@pytest.mark.accelerator("fake", batch_size=2)
def test_other(accel_model):
    accel_model(MODEL).check(DATA)
"""
MODEL = {"identity": True, "latency_ms": 10.0, "compile_s": 2.0}
SLOWER, LESS_ACCURATE = {**MODEL, "latency_ms": 20.0}, {**MODEL, "output_noise": 1.0}


class Liar:
    """The project, and what is easily changed in it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.pytester.path

    def test(self, body: str = HONEST, *, mark: str = "", budgets: str = BUDGETS, beside: str = BESIDE) -> None:
        """Write the test anew, with this body."""
        text = TEST.format(mark=mark, budgets=budgets, body=body.replace("\n", "\n    ")) + beside
        (self.folder / "test_model.py").write_text(text, encoding="utf-8")

    def model(self, **script: Any) -> None:
        """Give the model another script."""
        self.project.write_model(**script)

    @property
    def baselines(self) -> list[Path]:
        return sorted(self.project.baselines.rglob("*.json"))

    def baseline(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the data of every baseline."""
        for path in self.baselines:
            data = json.loads(path.read_text())
            change(data)
            path.write_text(json.dumps(data, indent=2, sort_keys=True))

    def artefacts(self) -> dict[float, Path]:
        """The cache's entries of the model's first variant, by the latency inside; the yardstick's is another one."""
        scripts = (self.folder / "cache" / "entries").glob("*/content/artefact/model.fake.json")
        entries = {path.parents[2]: json.loads(path.read_text()) for path in scripts}
        labels = {entry: json.loads((entry / "manifest.json").read_text())["label"] for entry in entries}
        return {script["latency_ms"]: entry for entry, script in entries.items() if labels[entry] == "model for fake"}

    def replace(self, entry: Path) -> None:
        """Replace an artefact by a slower one, together with a manifest that fits."""
        script = entry / "content" / "artefact" / "model.fake.json"
        script.write_text(json.dumps(SLOWER))
        label = json.loads((entry / "manifest.json").read_text())["label"]
        manifest = Manifest(label=label, files=dict(_files(entry / "content")))
        (entry / "manifest.json").write_bytes(msgspec.json.encode(manifest))

    def conftest(self, more: str) -> None:
        """Add something to the project's conftest."""
        path = self.folder / "conftest.py"
        path.write_text(f"import pytest\n{path.read_text()}\n{more}\n", encoding="utf-8")

    def run(self, *args: str) -> pytest.RunResult:
        return self.project.run(*args, workers=True)


class Lie(NamedTuple):
    """What is changed, with which arguments the run is started, and what has to be told."""

    tell: Callable[[Liar], object]
    told: str
    args: tuple[str, ...] = ()


def body(text: str, **more: str) -> Callable[[Liar], object]:
    return lambda liar: liar.test(text, **more)


def baseline(change: Callable[[dict[str, Any]], object], **script: Any) -> Callable[[Liar], object]:
    """Change the baselines, and the model to one that they would hide."""

    def tell(liar: Liar) -> None:
        liar.baseline(change)
        liar.model(**(script or SLOWER))

    return tell


def _pace(data: dict[str, Any]) -> None:
    for launch in data["duets"][0]["launches"]:
        launch["log_pace"] += 0.8


def _slower_then(data: dict[str, Any]) -> None:
    for launch in data["duets"][0]["launches"]:
        launch["candidate_p50_ms"] *= 2


def _forgiven(data: dict[str, Any]) -> None:
    data["accuracy"]["top1"] = 0.5


def _twice(liar: Liar) -> None:
    for path in liar.baselines:
        path.write_text(path.read_text().replace('"accuracy": {', '"accuracy": null, "accuracy": {', 1))


def _of_other_hardware(liar: Liar) -> None:
    """A baseline of a slower machine is put into the folder of this one, and says that it belongs there."""
    liar.baseline(lambda data: data["hardware"]["identity"].update(model="Fake 1"))


def _moved_from_elsewhere(liar: Liar) -> None:
    for path in liar.baselines:
        path.rename(path.with_name({"fake.json": "fake-b2.json", "fake-b2.json": "x"}[path.name]))
    (liar.baselines[-1].parent / "x").unlink(missing_ok=True)


def _another_key(liar: Liar) -> None:
    """The baselines name the artefact of a slow model that was compiled on the way."""
    liar.model(**SLOWER)
    liar.test(HONEST, budgets="", beside="")
    liar.run()
    slow = liar.artefacts()[20.0].name
    liar.baseline(lambda data: data["artefact"].update(key=slow))
    liar.test(HONEST)


def _replaced(liar: Liar) -> None:
    liar.replace(liar.artefacts()[10.0])
    liar.model(**{**MODEL, "latency_ms": 15.0})


def _replaced_without_digest(liar: Liar) -> None:
    _replaced(liar)
    liar.baseline(lambda data: data["artefact"].update(content_digest=""))


def _own_accelerator(liar: Liar) -> None:
    """The project's accelerator compiles to something slower from now on; the model is the same."""
    (liar.folder / "mine.py").write_text(
        "import json, os\n"
        "from pytest_accel.worker.accelerators.fake import FakeAccelerator\n"
        "class Mine(FakeAccelerator):\n"
        "    def compile_job(self, job):\n"
        "        super().compile_job(job)\n"
        "        path = os.path.join(job.artefact, 'model.fake.json')\n"
        "        script = {**json.load(open(path)), 'latency_ms': 20.0}\n"
        "        json.dump(script, open(path, 'w'))\n"
    )
    conftest = liar.folder / "conftest.py"
    conftest.write_text(conftest.read_text().replace(FAKE, "mine:Mine"))


def _another_metric(liar: Liar) -> None:
    """A run was broken off after a check with a metric that is always content; then the metric got honest."""
    (liar.folder / "metrics.py").write_text("def score(outputs, labels): return 1.0\n")
    measured = "import metrics\naccel_model(MODEL, precision='int8').check(DATA, metric=metrics.score)"
    stop = "\ndef test_stop():\n    if os.path.exists('stop'): pytest.exit('enough')\n"
    liar.model(**MODEL, by_precision={"int8": {"output_noise": 1.0, "precisions": {"int8": 2}}})
    liar.test(measured, budgets=", precision='int8'", beside=stop)
    (liar.folder / "stop").touch()
    assert liar.run().ret == pytest.ExitCode.INTERRUPTED
    (liar.folder / "stop").unlink()
    honest = "def score(outputs, labels): return float((outputs.argmax(axis=1) == labels).mean())\n"
    (liar.folder / "metrics.py").write_text(honest)


def _resumed_beside_another(liar: Liar) -> None:
    """The result of a run that was broken off is taken over beside another test of the same baseline."""
    other = BESIDE.replace(", batch_size=2", "").replace("DATA", "INPUTS")
    stop = "if os.path.exists('stop'): pytest.exit('enough')\n    accel_model"
    liar.test(HONEST, beside=other.replace("accel_model(MODEL)", f"{stop}(MODEL)"))
    (liar.folder / "stop").touch()
    assert liar.run("--accel-save-baseline").ret == pytest.ExitCode.INTERRUPTED
    (liar.folder / "stop").unlink()


def _cached_compilation(liar: Liar) -> None:
    liar.test(HONEST, budgets=", max_compile_s=1")
    liar.run()


def _device(liar: Liar, **script: Any) -> None:
    """Change what the fake device says of itself, whatever the model is."""
    liar.project.monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(script))


def _missing(liar: Liar) -> None:
    _device(liar, missing={"kind": "no-sdk", "reason": "fake-sdk cannot be imported", "action": "install it"})


def _too_fast(liar: Liar) -> None:
    _device(liar, peak_flops=1e12)
    liar.model(**MODEL, flops=5e10)


def _no_answers(liar: Liar) -> None:
    liar.model(**MODEL, by_precision={"int8": {"nan": True, "precisions": {"int8": 2}}})
    liar.test(HONEST, budgets=", precision='int8'")


def _hook(liar: Liar) -> None:
    liar.test("accel_model(MODEL).check(DATA, p50_ms=0.1)")
    liar.conftest(OUTCOME)


def _refused(liar: Liar) -> None:
    liar.test(HONEST, budgets=", precision=['fp16', 'int8'], on_compile_error='record'", beside="")
    liar.model(**MODEL, failures={"compile": {"how": "refused"}})


SWALLOWED = "try: accel_model(MODEL).check(DATA, p50_ms=0.1)\nexcept AssertionError: {}"
THREAD = """
def quiet(model):
    try: model.check(DATA, p50_ms=0.1)
    except AssertionError: pass
thread = Thread(target=quiet, args=(accel_model(MODEL),))
thread.start()
thread.join()
"""
OUTCOME = """
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    return report
"""
NOT_JUDGED = "--accel-strict: 1 test is marked accelerator, and not judged: test_model.py::test_model?fake?"
HIDDEN = "--accel-strict: a check failed, and its test did not: test_model.py::test_model?fake?"
WENT_ON = "*a check of model?fake? failed (sla-breach) and the test went on*"
ITSELF = "*nothing would be compared*"

LIES: dict[str, Lie] = {
    # Other questions
    "labels are left out": Lie(body("accel_model(MODEL).check(INPUTS)"), "*incomparable: *this run has no labels*"),
    "data are left out": Lie(body("accel_model(MODEL).check()"), "*incomparable: *this run has no labels*"),
    "half of the data": Lie(body("accel_model(MODEL).check((INPUTS[:49], DATA[1][:49]))"), "*from another dataset*"),
    "other labels": Lie(body("accel_model(MODEL).check((INPUTS, DATA[1] * 0))"), "*from another dataset*"),
    "another metric": Lie(body("accel_model(MODEL).check(DATA, metric=lambda *_: 1.0)"), "*holds no <lambda> to*"),
    "two tests share a baseline": Lie(
        lambda liar: liar.test(HONEST, beside=BESIDE.replace(", batch_size=2", "").replace("DATA", "INPUTS")),
        "*one baseline, * cannot serve different data*",
    ),
    "a metric is resumed": Lie(_another_metric, "*inaccurate: *score*", ("--accel-resume",)),
    "a resumed test shares a baseline": Lie(
        _resumed_beside_another,
        "*one baseline, * cannot serve different data*",
        ("--accel-save-baseline", "--accel-resume"),
    ),
    # Failures that nobody sees
    "a failure is caught": Lie(body(SWALLOWED.format("pass")), WENT_ON),
    "a failure is caught in a thread": Lie(body(THREAD), WENT_ON),
    "a thread is not waited for": Lie(
        body(f"{HONEST}\n{THREAD}".replace("thread.join()", "").replace("AssertionError", "Exception")),
        "*had not ended when the test did*",
    ),
    "skipped after a failure": Lie(body(SWALLOWED.format("pytest.skip('later')")), WENT_ON),
    "expected after a failure": Lie(body(SWALLOWED.format("pytest.xfail('known')")), HIDDEN),
    "expected to fail": Lie(body("accel_model(MODEL).check(DATA, p50_ms=0.1)", mark="@pytest.mark.xfail"), HIDDEN),
    "a hook says that it passed": Lie(_hook, HIDDEN),
    "a model that does not compile is passed over": Lie(
        body(f"try: accel_model('none.fake.json')\nexcept Exception: pass\n{HONEST}"),
        "*compiling a model failed (SourceError) and the test went on*",
    ),
    "an error of a check is passed over": Lie(
        body(f"try: accel_model(MODEL).check(INPUTS[:, :2])\nexcept Exception: pass\n{HONEST}"),
        "*a check of model?fake? failed (DatasetError) and the test went on*",
    ),
    # What was not judged
    "a marked test is skipped": Lie(body(HONEST, mark="@pytest.mark.skip"), NOT_JUDGED),
    "a marked test skips itself": Lie(body("pytest.skip('no data')"), NOT_JUDGED),
    "a marked test is not run": Lie(body(HONEST, mark="@pytest.mark.xfail(run=False)"), NOT_JUDGED),
    "the run ends itself": Lie(body("pytest.exit('enough', returncode=0)"), "--accel-strict: 2 tests are marked *"),
    "a second model is never judged": Lie(
        body(f"{HONEST}\naccel_model(MODEL, precision='int8').placement()"), "*model?fake-int8? was compiled and never*"
    ),
    "a part is measured alone": Lie(
        body("assert accel_model(MODEL).measure().p50_ms < 50", budgets=""), "*was compiled and never judged*"
    ),
    "another variant is judged": Lie(
        body("accel_model(MODEL, batch_size=2).check(DATA)", budgets=", batch_size=4", beside=""),
        "*the marked variant fake-b4 was never judged*",
    ),
    "a budget is taken back": Lie(
        body("accel_model(MODEL).check(DATA, p50_ms=None)"), "*the budget p50_ms was given and taken back*"
    ),
    "the accelerator is not here": Lie(_missing, "*fake absent: fake-sdk cannot be imported*"),
    "no test is left": Lie(body(HONEST), "no accelerator test ran: nothing was measured", ("-k", "nothing")),
    "every variant is refused": Lie(
        _refused,
        "*no variant was measured*",
    ),
    "no process times it": Lie(body(HONEST), "*decides nothing about speed*", ("--accel-in-process",)),
    # Compared with itself
    "an opponent of nothing": Lie(body(HONEST), "*names nothing*", ("--accel-against=",)),
    "its own checkout": Lie(body(HONEST), ITSELF, ("--accel-against=.",)),
    "its own model": Lie(body(HONEST), ITSELF, ("--accel-against=model.fake.json",)),
    "its own cache": Lie(body(HONEST), "*this is the cache of this run itself*", ("--accel-against=cache",)),
    "its own interpreter": Lie(body(HONEST), ITSELF, (f"--accel-against=popen//python={sys.executable}",)),
    # Baselines and the cache
    "no baseline": Lie(lambda liar: shutil.rmtree(liar.project.baselines), "*no-baseline: *"),
    "a slower one is saved": Lie(lambda liar: liar.model(**SLOWER), "*regressed: *", ("--accel-save-baseline",)),
    "a baseline without accuracy": Lie(
        baseline(lambda data: data.update(accuracy=None), **LESS_ACCURATE),
        "*The baseline holds no accuracy to compare with*",
    ),
    "a baseline that was less accurate": Lie(baseline(_forgiven, **LESS_ACCURATE), "*accuracy.top1: * by accuracy.r*"),
    "a baseline with two accuracies": Lie(_twice, "*'accuracy' is there twice*"),
    "a pace that was slower": Lie(baseline(_pace), "*log_pace: * is not the log of the medians' ratio*"),
    "medians that were slower": Lie(baseline(_slower_then), "*log_pace: * is not the log of the medians' ratio*"),
    "a baseline of another machine": Lie(_of_other_hardware, "*hardware.fingerprint: the fingerprint of this *"),
    "a baseline of another variant": Lie(_moved_from_elsewhere, "*is the baseline of * move it to*"),
    "a key of a slower artefact": Lie(_another_key, "*regressed: *"),
    "an artefact that was replaced": Lie(_replaced, "*regressed: *"),
    "the same without its digest": Lie(_replaced_without_digest, "*regressed: *"),
    "a compilation from the cache": Lie(_cached_compilation, "*sla-breach: *Compiling in an earlier run*"),
    "an accelerator that changed": Lie(_own_accelerator, "*regressed: *"),
    # What was measured
    "a device that is faster than it can be": Lie(_too_fast, "*is beyond the device's peak of*"),
    "another precision": Lie(
        body("accel_model(MODEL).check(DATA)", budgets=", precision='int8'"),
        "*int8 was asked for and no operator runs*",
    ),
    "answers that are none": Lie(_no_answers, "*NaN or infinite*"),
    "mostly the host": Lie(lambda liar: liar.model(**MODEL, on_device=0.1), "*what was timed is largely the host*"),
}


@pytest.fixture
def liar(project: Project, template: Template, monkeypatch: pytest.MonkeyPatch) -> Liar:
    """A project that is green, and honest so far."""
    monkeypatch.setattr("pytest_accel.regression.duet.planned_pairs", lambda _: 3)
    # A neighbour of this drill would leave a pace beside the yardstick undecided, which is red too, for another reason.
    monkeypatch.setattr("pytest_accel.regression.pacemaker.ForeignLoad.cores", lambda _: 0.0)
    liar = Liar(project)
    liar.model(**MODEL)
    liar.test()
    template.copy_to(project, "honest", ("--accel-save-baseline",))
    return liar


def test_the_honest_project_is_green(liar: Liar) -> None:
    result = liar.run("--accel-strict")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_red(liar: Liar, name: str) -> None:
    lie = LIES[name]
    lie.tell(liar)
    result = liar.run("--accel-strict", "--accel-report=run.md", *lie.args)
    assert result.ret != pytest.ExitCode.OK
    told = [*result.outlines, *result.errlines]
    pytest.LineMatcher(told).fnmatch_lines([lie.told])
    assert "INTERNALERROR" not in "".join(told)
    report = liar.folder / "run.md"
    assert not report.exists() or not comment(report).startswith("## Passed")
