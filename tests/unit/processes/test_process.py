from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import psutil
import pytest

from pytest_accel.facts.errors import CompileFailed, DeadlineExceeded, UnfitInput, WorkerCrashed, WorkerError
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.messages import message_of
from pytest_accel.processes.process import InProcessWorker, Worker, WorkerPool
from pytest_accel.store.locks import folders
from pytest_accel.testing import FAKE, FakeAccelerator, fake_model
from pytest_accel.worker import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_accel.facts.fact import Scalar
    from pytest_accel.processes.process import AnyWorker

OPTIONS: dict[str, Scalar] = {"precision": "fp32", "batch_size": 1}
LONG_S = 60.0
DEPLOYED = {**OPTIONS, "signature": "serving_default"}
DEPLOYING = Deadlines(compile_s=LONG_S, run_s=LONG_S, deploy_s=LONG_S)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def unruly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process, and no other, import the module of that name."""
    monkeypatch.syspath_prepend(Path(__file__).parent)


@pytest.fixture
def pool(logs: Path) -> Iterator[WorkerPool]:
    """A pool that must not leave a process or a log behind."""
    others = set(psutil.Process().children(recursive=True))
    pool = WorkerPool({}, in_process=False, log_dir=logs)
    yield pool
    pool.close()
    assert set(psutil.Process().children(recursive=True)) <= others
    assert list(logs.glob("*")) == []


def compile_with(worker: AnyWorker, folder: Path, *, deadline_s: float = LONG_S, **script: Any) -> dict[str, Any]:
    model = fake_model(folder / "model.fake.json", **script)
    return worker.request(
        "compile",
        phase="compile",
        deadline_s=deadline_s,
        source={"kind": "fake", "path": str(model)},
        artefact=str(folder / "artefact"),
        options=OPTIONS,
    )


def load(worker: AnyWorker, folder: Path, deadline_s: float = LONG_S) -> dict[str, Any]:
    return worker.request(
        "load", phase="load", deadline_s=deadline_s, artefact=str(folder / "artefact"), options=OPTIONS
    )


def measure(worker: AnyWorker, deadline_s: float = LONG_S) -> dict[str, Any]:
    batch = wire.pack_all({"x": np.ones((1, 4), np.float32)})
    worker.request("stage", phase="stage", deadline_s=LONG_S, batches=[batch])
    return worker.request(
        "measure", phase="measure", deadline_s=deadline_s, load_shape="single_stream", calls=5, checks=1
    )


def run_until(phase: str, worker: AnyWorker, folder: Path, deadline_s: float = LONG_S, **failure: Any) -> None:
    """Go through the phases; the failure happens in the named one, which has the deadline."""
    scripted = {"measure": "infer"}.get(phase, phase)
    limits = {**dict.fromkeys(("compile", "load", "measure"), LONG_S), phase: deadline_s}
    compile_with(worker, folder, deadline_s=limits["compile"], failures={scripted: failure})
    load(worker, folder, limits["load"])
    measure(worker, limits["measure"])


@pytest.mark.parametrize("phase", ["compile", "load", "measure"])
@pytest.mark.parametrize("how", ["sigkill", "sigsegv", "sigabrt"])
def test_a_crash_names_the_signal_and_the_next_test_gets_another_worker(
    pool: WorkerPool, tmp_path: Path, phase: str, how: str
) -> None:
    worker = pool.shared("fake", FAKE)
    with pytest.raises(
        WorkerCrashed, match=rf"fake: the worker was killed by {how.upper()}.* during {phase}"
    ) as caught:
        run_until(phase, worker, tmp_path, how=how)
    assert caught.value.phase == phase
    assert ("out of memory" in str(caught.value)) == (how == "sigkill")
    if how != "sigkill":  # which leaves no time for last words
        assert "in _fail" in caught.value.details
    assert not worker.alive
    assert compile_with(pool.shared("fake", FAKE), tmp_path) == {"seconds": 2.0}


@pytest.mark.parametrize("phase", ["compile", "load", "measure"])
def test_a_hang_ends_at_its_deadline_and_shows_where_it_hung(pool: WorkerPool, tmp_path: Path, phase: str) -> None:
    worker = pool.shared("fake", FAKE)
    with pytest.raises(DeadlineExceeded, match=rf"{phase} was still running after 0\.3 s") as caught:
        run_until(phase, worker, tmp_path, deadline_s=0.3, how="hang")
    assert "in _fail" in caught.value.details
    assert ("--accel-compile-timeout" in str(caught.value)) == (phase == "compile")
    assert not worker.alive
    assert compile_with(pool.shared("fake", FAKE), tmp_path) == {"seconds": 2.0}


def test_megabytes_of_output_do_no_harm_and_do_not_fill_the_disk(pool: WorkerPool, logs: Path, tmp_path: Path) -> None:
    worker = pool.shared("fake", FAKE)
    compile_with(worker, tmp_path, failures={"compile": {"how": "print", "megabytes": 12}})
    assert sum(log.stat().st_size for log in logs.iterdir()) < 5e6
    assert load(worker, tmp_path)["load_s"] == 0.5


def test_the_end_of_what_was_printed_is_in_the_details(pool: WorkerPool, tmp_path: Path) -> None:
    worker = pool.shared("fake", FAKE)
    failures = {"compile": {"how": "print", "megabytes": 12}, "load": {"how": "sigkill"}}
    compile_with(worker, tmp_path, failures=failures)
    with pytest.raises(WorkerCrashed) as caught:
        load(worker, tmp_path)
    assert "a scripted line of thirty-two.." in caught.value.details
    assert len(caught.value.details) < 10_000


def test_an_exception_comes_with_its_traceback_and_the_worker_goes_on(pool: WorkerPool, tmp_path: Path) -> None:
    worker = pool.shared("fake", FAKE)
    with pytest.raises(WorkerError, match="compile failed: RuntimeError: broken compiler") as caught:
        compile_with(worker, tmp_path, failures={"compile": {"how": "error", "message": "broken compiler"}})
    assert 'self._fail("compile")' in caught.value.details, "the source lines are in the traceback"
    assert worker.alive
    assert pool.shared("fake", FAKE) is worker


def test_running_out_of_memory_in_python_is_an_ordinary_failure(pool: WorkerPool, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="compile failed: MemoryError: scripted"):
        compile_with(pool.shared("fake", FAKE), tmp_path, failures={"compile": {"how": "memory"}})


def test_the_compilers_no_is_in_the_vendors_words(pool: WorkerPool, tmp_path: Path) -> None:
    with pytest.raises(CompileFailed, match=r"^unsupported operator Foo$"):
        compile_with(
            pool.shared("fake", FAKE),
            tmp_path,
            failures={"compile": {"how": "refused", "message": "unsupported operator Foo"}},
        )


def test_a_refusal_after_loading_is_about_the_inputs(pool: WorkerPool, tmp_path: Path) -> None:
    with pytest.raises(UnfitInput, match="too large"):
        run_until("stage", pool.shared("fake", FAKE), tmp_path, how="refused", message="too large")


def test_a_shared_worker_is_used_again(pool: WorkerPool) -> None:
    assert pool.shared("fake", FAKE) is pool.shared("fake", FAKE)


def test_a_fresh_worker_is_nobodys_but_ours_and_ends_with_its_block(pool: WorkerPool) -> None:
    shared = pool.shared("fake", FAKE)
    with pool.fresh("fake", FAKE) as fresh:
        assert fresh.pid != shared.pid
        process = psutil.Process(fresh.pid)
    assert not process.is_running()
    assert shared.alive


def test_a_paused_worker_does_nothing_and_answers_afterwards(pool: WorkerPool, tmp_path: Path) -> None:
    worker = pool.fresh("fake", FAKE)
    with worker.paused():
        until = time.monotonic() + 4  # a signal is not obeyed in the same instant
        while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < until
    assert compile_with(worker, tmp_path) == {"seconds": 2.0}


def test_a_paused_worker_can_be_ended(pool: WorkerPool) -> None:
    worker = pool.fresh("fake", FAKE)
    process = psutil.Process(worker.pid)
    with worker.paused():
        worker.kill()
    assert_gone([process])


def test_closing_ends_everything_and_may_be_done_twice(pool: WorkerPool) -> None:
    workers = [pool.shared("fake", FAKE), pool.fresh("fake", FAKE)]
    pool.close()
    pool.close()
    assert not any(worker.alive for worker in workers)


def test_a_dead_worker_says_so(pool: WorkerPool, tmp_path: Path) -> None:
    worker = pool.fresh("fake", FAKE)
    worker.kill()
    with pytest.raises(WorkerCrashed, match="fake: the worker was ended before compile; start another"):
        compile_with(worker, tmp_path)


def test_a_worker_that_dies_between_requests_is_found_dead_and_replaced(pool: WorkerPool) -> None:
    worker = pool.shared("fake", FAKE)
    process = psutil.Process(worker.pid)
    process.kill()
    psutil.wait_procs([process], timeout=10)
    assert pool.shared("fake", FAKE).pid != worker.pid


@pytest.mark.parametrize("how", ["nothing", "sigkill", "sigsegv", "hang"])
def test_temporary_files_go_with_the_worker(
    unruly: None, pool: WorkerPool, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    everybodys = tmp_path / "everybody's"
    everybodys.mkdir()
    monkeypatch.setenv("TMPDIR", str(everybodys))
    worker = pool.fresh("fake", "unruly:LeavesTemporaryFiles")
    compile_with(worker, tmp_path, failures={} if how == "nothing" else {"load": {"how": how}})
    (own,) = folders(logs)
    assert len(list(own.rglob("*"))) == 5, "a file, a folder with a file, a program's file and one of native code"
    if how == "nothing":
        worker.kill()
    else:
        with pytest.raises(DeadlineExceeded if how == "hang" else WorkerCrashed):
            load(worker, tmp_path, deadline_s=0.3 if how == "hang" else LONG_S)
    assert list(logs.iterdir()) == []
    assert list(everybodys.iterdir()) == []


def test_progress_is_passed_on(pool: WorkerPool, tmp_path: Path) -> None:
    seen: list[tuple[float | None, str]] = []
    model = fake_model(tmp_path / "model.fake.json")
    pool.shared("fake", FAKE).request(
        "compile",
        phase="compile",
        deadline_s=LONG_S,
        on_progress=lambda share, doing: seen.append((share, doing)),
        source={"kind": "fake", "path": str(model)},
        artefact=str(tmp_path / "artefact"),
        options=OPTIONS,
    )
    assert seen == [(0.0, "compiling"), (1.0, "compiled")]


def test_an_interrupted_request_takes_the_worker_and_its_programs_along(unruly: None, logs: Path) -> None:
    programs: list[psutil.Process] = []

    def interrupt(share: float | None, pid: str) -> None:
        programs.append(psutil.Process(int(pid)))
        raise KeyboardInterrupt

    worker = Worker("fake", "unruly:StartsAProgram", log_dir=logs)
    with pytest.raises(KeyboardInterrupt):
        worker.request(
            "compile",
            phase="compile",
            deadline_s=LONG_S,
            on_progress=interrupt,
            source={"kind": "fake", "path": ""},
            artefact=str(logs / "artefact"),
            options=OPTIONS,
        )
    assert not worker.alive
    assert_gone(programs)


def ask_to_compile(worker: Worker, source: str = "", told: list[str] | None = None) -> None:
    worker.request(
        "compile",
        phase="compile",
        deadline_s=LONG_S,
        on_progress=lambda _, pid: (told if told is not None else []).append(pid),
        source={"kind": "fake", "path": source},
        artefact=str(Path(worker._paths["temporary"]) / "artefact"),
        options=OPTIONS,
    )


def test_a_dead_worker_is_seen_at_once_though_a_program_holds_its_wire_which_ends_too(unruly: None, logs: Path) -> None:
    programs: list[str] = []
    worker = Worker("fake", "unruly:DiesBehindAProgram", log_dir=logs)
    began_s = time.monotonic()
    with pytest.raises(WorkerCrashed, match="fake: the worker exited with status 7 during compile"):
        ask_to_compile(worker, told=programs)
    assert time.monotonic() - began_s < 4  # a second, and some for a busy machine
    (program,) = programs
    assert_gone([psutil.Process(int(program))] if psutil.pid_exists(int(program)) else [])


@pytest.mark.parametrize("spoilt", ["ff" * 9, "00", "7f" * 40, "01" + "00" * 7 + "ff" + "6e" * 300])
def test_a_worker_that_spoils_its_wire_and_dies_is_seen_at_once(unruly: None, logs: Path, spoilt: str) -> None:
    worker = Worker("fake", "unruly:SpoilsTheWire", log_dir=logs)
    began_s = time.monotonic()
    with pytest.raises(WorkerCrashed, match="fake: the worker was killed by SIGABRT during compile"):
        ask_to_compile(worker, f"{spoilt}-dies")
    assert time.monotonic() - began_s < 4


def test_a_worker_that_spoils_its_wire_and_lives_is_told_so(
    unruly: None, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_accel.processes.place.GRACE_S", 0.5)
    worker = Worker("fake", "unruly:SpoilsTheWire", log_dir=logs)
    with pytest.raises(WorkerCrashed, match="closed its connection, or something in it wrote there what is no answer"):
        ask_to_compile(worker, "63" + "00" * 8)
    assert not worker.alive


@pytest.mark.parametrize(
    "plain",
    [
        None,
        7,
        [],
        "result",
        {},
        {"result": 1},
        {"result": {1: 2}},
        {"progress": 1},
        {"progress": [None]},
        {"progress": ["half", "done"]},
        {"secrets": "abc"},
        {"error": {}},
        {"error": {"type": 1, "message": "", "traceback": "", "refused": False}},
        {"unknown": {}},
    ],
    ids=repr,
)
def test_what_is_no_message_is_caught_at_the_border(plain: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        message_of(plain)


def test_an_answer_that_is_no_message_ends_the_worker_with_a_sentence(
    pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = pool.fresh("fake", FAKE)
    assert isinstance(worker, Worker)
    monkeypatch.setattr(worker._channel, "receive", lambda _: 7)
    with pytest.raises(WorkerError, match="fake: the worker's answer to compile is malformed: Expected `object`, got"):
        compile_with(worker, tmp_path)
    assert not worker.alive


def test_what_cannot_be_sent_is_an_error_and_the_worker_goes_on(unruly: None, logs: Path) -> None:
    with Worker("fake", "unruly:SaysWhatCannotBeSent", log_dir=logs) as worker:
        with pytest.raises(WorkerError, match=r"versions failed: TypeError: the answer cannot be sent: .*object"):
            worker.request("versions", phase="versions", deadline_s=LONG_S)
        with pytest.raises(CompileFailed, match=r"^no operator \\udcff, in the vendor's words$"):
            ask_to_compile(worker)
        assert worker.alive


def test_a_path_that_is_no_text_is_named(pool: WorkerPool, tmp_path: Path) -> None:
    worker = pool.fresh("fake", FAKE)
    with pytest.raises(WorkerError, match=r"load is about '.*\\udcff/artefact', which is no UTF-8 text: rename that"):
        load(worker, tmp_path / "\udcff")


def test_credentials_are_not_in_what_is_shown_of_the_log(
    unruly: None, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET_KEY", "from/the environment")
    worker = Worker("fake", "unruly:LogsItsSecret", log_dir=logs)
    ask_to_compile(worker)
    with pytest.raises(WorkerCrashed) as caught:
        load(worker, logs)
    assert "GET /?key=(redacted)&other=(redacted)" in caught.value.details


def test_what_is_loaded_is_deployed_first_and_announced_at_once(unruly: None, logs: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    with Worker("fake", "unruly:Deploys", log_dir=logs, announce=heard.append) as worker:
        compile_with(worker, tmp_path)
        client = WorkerClient(worker, DEPLOYING, deploys=True)
        client.load(tmp_path / "artefact", DEPLOYED, lambda _, detail: heard.append(detail))
        assert heard == ["endpoint of artefact is billed", "endpoint is Creating"]
        left = client.delete_deployments(lambda _, detail: heard.append(detail))
        assert (left, heard[2:]) == (("endpoint is left after 60 s",), ["endpoint is Deleting"])


def test_a_deployment_that_is_refused_is_in_the_words_of_the_service(unruly: None, logs: Path, tmp_path: Path) -> None:
    with Worker("fake", "unruly:Deploys", log_dir=logs) as worker:
        compile_with(worker, tmp_path)
        with pytest.raises(CompileFailed, match=r"^the quota does not allow it$"):
            WorkerClient(worker, DEPLOYING, deploys=True).load(
                tmp_path / "artefact", {**DEPLOYED, "signature": "refused"}
            )


def test_a_deployment_has_a_deadline_of_its_own(unruly: None, logs: Path, tmp_path: Path) -> None:
    deadlines = Deadlines(compile_s=LONG_S, run_s=LONG_S, deploy_s=0.3)
    with Worker("fake", "unruly:Deploys", log_dir=logs) as worker:
        compile_with(worker, tmp_path)
        with pytest.raises(DeadlineExceeded, match=r"deploy was still .* after 0\.3 s .*--accel-deploy-timeout gives"):
            WorkerClient(worker, deadlines, deploys=True).load(
                tmp_path / "artefact", {**DEPLOYED, "signature": "hangs"}
            )


def test_a_worker_in_the_process_announces_too_and_lets_go_when_it_is_ended(
    unruly: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    worker = InProcessWorker("fake", "unruly:Deploys", heard.append)
    monkeypatch.setattr("unruly.Deploys.close", lambda _: heard.append("closed"))
    compile_with(worker, tmp_path)
    WorkerClient(worker, DEPLOYING, deploys=True).load(tmp_path / "artefact", DEPLOYED)
    worker.kill()
    worker.kill()
    assert heard == ["endpoint of artefact is billed", "closed"]


@pytest.mark.parametrize("failure", [None, "error", "sigsegv", "hang"])
def test_a_temporary_folder_that_is_cleaned_meanwhile_costs_no_more_than_the_log(
    pool: WorkerPool, logs: Path, tmp_path: Path, failure: str | None
) -> None:
    worker = pool.shared("fake", FAKE)
    shutil.rmtree(logs)
    if failure is None:
        assert compile_with(worker, tmp_path) == {"seconds": 2.0}
        assert len(folders(logs)) == 1, "what the worker's programs may need"
    else:
        with pytest.raises(WorkerError, match=r"scripted|SIGSEGV|still running"):
            compile_with(worker, tmp_path, deadline_s=1.0, failures={"compile": {"how": failure}})
    assert compile_with(pool.fresh("fake", FAKE), tmp_path) == {"seconds": 2.0}


def test_without_room_for_temporary_files_no_worker_starts(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(WorkerError, match=r"the temporary folder cannot be used, .*; free some space"):
        Worker("fake", FAKE, log_dir=tmp_path / "a file" / "logs")


def test_an_interpreter_that_prints_before_it_answers_is_refused_in_words(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkerError, match=r"does not start as a Python .*sitecustomize") as caught:
        Worker("fake", FAKE, log_dir=logs)
    assert caught.value.phase == "start"
    assert list(logs.iterdir()) == []


CONTROLLER = """
import contextlib
import sys
from pathlib import Path
from pytest_accel.processes.process import Worker

sys.path.insert(0, {here!r})
worker = Worker("fake", "unruly:StartsAProgram", log_dir=Path({logs!r}))
stack = contextlib.ExitStack()

def tell(share, pid):
    {first}
    print(worker.pid, pid, flush=True)

worker.request("compile", phase="compile", deadline_s=60, source={{"kind": "fake", "path": ""}},
    artefact={logs!r}, options={{}}, on_progress=tell)
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("first", ["pass", "stack.enter_context(worker.paused())"], ids=["running", "paused"])
def test_nothing_outlives_the_controller(tmp_path: Path, ending: signal.Signals, first: str) -> None:
    logs = tmp_path / "it's $HOME; *"
    others = logs / "another's"
    others.mkdir(parents=True)
    text = CONTROLLER.format(here=str(Path(__file__).parent), logs=str(logs), first=first)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", text], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as controller:
        assert controller.stdout is not None
        left = [psutil.Process(int(pid)) for pid in controller.stdout.readline().split()]
        left.extend(psutil.Process(controller.pid).children(recursive=True))
        assert len(left) == 6, "the worker, its program, its two watching shells, and again the worker and its program"
        assert len(folders(logs)) == 2
        controller.send_signal(ending)
    assert_gone(left)
    assert folders(logs) == [others]


def assert_gone(processes: list[psutil.Process]) -> None:
    """The kernel kills orphans at once, but not in the same instant; execnet alone would leave them 5 s and more."""
    _, alive = psutil.wait_procs(processes, timeout=4)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (None, "No such file"),
        ("true", "it is no Python"),
        ("echo 'SyntaxError: invalid syntax' >&2; exit 1", "SyntaxError: invalid syntax"),
        (f'exec {sys.executable} -I -S "$@"', "No module named 'numpy'"),
    ],
)
def test_an_interpreter_that_will_not_do_is_named_with_the_option_to_change(
    tmp_path: Path, script: str | None, problem: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    pool = WorkerPool({"inf1": str(python)}, in_process=False, log_dir=tmp_path)
    with pytest.raises(
        WorkerError, match=rf"cannot start a worker for 'inf1' with {python}: .*{problem}.*accel_python"
    ):
        pool.fresh("inf1", FAKE)


def test_an_accelerator_that_cannot_be_made_fails_the_start_with_its_traceback(unruly: None, pool: WorkerPool) -> None:
    with pytest.raises(WorkerError, match=r"fake: ImportError: libfake\.so\.3") as caught:
        pool.shared("fake", "unruly:CannotBeMade")
    assert "unruly.py" in caught.value.details


def test_in_process_the_face_is_the_same_and_the_cause_is_at_hand(tmp_path: Path) -> None:
    pool = WorkerPool({}, in_process=True, log_dir=tmp_path)
    worker = pool.shared("fake", FAKE)
    assert isinstance(worker, InProcessWorker)
    assert pool.shared("fake", FAKE) is worker
    assert compile_with(worker, tmp_path) == {"seconds": 2.0}
    assert load(worker, tmp_path)["load_s"] == 0.5
    with pytest.raises(WorkerError, match="scripted failure") as caught:
        compile_with(worker, tmp_path, failures={"compile": {"how": "error"}})
    assert type(caught.value.__cause__) is RuntimeError
    pool.close()
    assert not worker.alive
    assert FakeAccelerator.__module__ in sys.modules
