"""Workers: the processes in which accelerators run, from their start to whichever end they come to.

A worker is an interpreter started through execnet. It answers one request at a time, and nothing that it does (crash,
hang, print without end) reaches further than the request. What requests mean is in `client`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from pytest_accel.facts.errors import CompileFailed, DeadlineExceeded, UnfitInput, WorkerCrashed, WorkerError
from pytest_accel.processes.fork_server import ForkServer, ForkServers
from pytest_accel.processes.post_mortem import Remains, ending, oom_kills, writers_of
from pytest_accel.processes.shipping import cargo_for
from pytest_accel.worker.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from pytest_accel.worker.accelerator import Accelerator, Progress
    from pytest_accel.worker.wire import Plain


_START_DEADLINE_S = 60.0
#: _IMPORT_DEADLINE_S is the number of seconds after which a fork server that still imports is given up.
_IMPORT_DEADLINE_S = 300.0
#: _LOOK_EVERY_S is the number of seconds between two looks of a waiting controller at the size of the worker's log.
_LOOK_EVERY_S = 0.25
#: _GRACE_S is the number of seconds that a worker has to show its stacks before it is killed.
_GRACE_S = 5.0
#: _HANG_UP_S is the number of seconds that the end of a dead worker's wire is waited for.
_HANG_UP_S = 0.5
#: _DEADLINE_OF names the option with the deadline of a phase that has one of its own.
_DEADLINE_OF = {"compile": "--accel-compile-timeout", "deploy": "--accel-deploy-timeout"}


def _ignore(share: float | None, doing: str) -> None: ...


def _unheard(sentence: str) -> None: ...


class Worker:
    """One accelerator in one process of its own.

    ``python`` is the interpreter to start, ``accelerator`` a ``"module:Class"`` whose source is sent to it. With
    ``fork_server`` the process is forked there, by an interpreter of the same kind. ``waiting`` is called now and then
    while a request is waited for. Raises `WorkerError` when the interpreter cannot be started or the accelerator cannot
    be imported there.
    """

    def __init__(
        self,
        name: str,
        accelerator: str,
        *,
        python: str = sys.executable,
        log_dir: Path,
        waiting: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = _unheard,
        fork_server: ForkServer | None = None,
    ) -> None:
        import execnet

        from pytest_accel.worker import boot

        check_interpreter(name, python)
        sources, stand_ins = cargo_for(accelerator)
        self.name = name
        self._waiting = waiting
        self._announce = announce
        self._ended = False
        try:
            self._remains = Remains(log_dir)
        except OSError as error:
            raise no_temporary_files(error) from None
        self._oom_kills = oom_kills()
        self._group = execnet.Group()
        # The path stays as it is: a virtual environment is found by the name of its link.
        command = fork_server.command() if fork_server else [str(Path.cwd() / python)]
        gateway = self._gateway(command)
        # execnet keeps the process to itself, but only the process knows which signal ended it.
        self._process = gateway._io.popen
        self.pid: int = self._process.pid
        self._channel = gateway.newchannel()  # closed at once, in case that the next line fails
        try:
            self._channel = gateway.remote_exec(boot)
        except OSError:
            raise self._crashed("start") from None
        cargo = {"accelerator": accelerator, "sources": sources, "stand_ins": stand_ins, **self._remains.paths}
        self.pid = self.request("hello", phase="start", deadline_s=_START_DEADLINE_S, before=cargo)["pid"]

    def _gateway(self, command: Sequence[str]) -> Any:
        """Start the interpreter. It may answer what is no answer, because something else prints, or nothing at all."""
        from execnet import XSpec, gateway_bootstrap, gateway_io

        spec = XSpec(f"popen//python={shlex.join(command)}//execmodel=main_thread_only")
        self._group.allocate_id(spec)
        io = gateway_io.create_io(spec, execmodel=self._group.execmodel)
        patience = threading.Timer(_START_DEADLINE_S, io.kill)
        patience.start()
        try:
            gateway = gateway_bootstrap.bootstrap(io, spec)
        except (OSError, EOFError, AssertionError) as error:
            self._discard(io.popen)
            raise WorkerError(
                f"{self.name}: {command[0]} does not start as a Python ({error}): see what `{command[0]} -c pass` "
                "prints and how it ends; a sitecustomize or a .pth file may be in the way",
                phase="start",
            ) from None
        finally:
            patience.cancel()
        gateway.spec = spec
        self._group._register(gateway)
        return gateway

    def _discard(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with contextlib.suppress(OSError):  # what it has not read is lost with it
                pipe.close()
        self._remains.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def alive(self) -> bool:
        """Whether it can take a request."""
        return not self._ended and self._process.poll() is None

    def request(
        self,
        op: str,
        *,
        phase: str,
        deadline_s: float,
        on_progress: Progress | None = None,
        before: Plain | None = None,
        **params: Any,
    ) -> Plain:
        """Have one operation done and return its result. ``before`` is sent ahead of it.

        Raises `DeadlineExceeded` and `WorkerCrashed`, after which the worker is gone; `CompileFailed`, `UnfitInput` and
        `WorkerError` when the accelerator said no, after which it can be asked again. Any other exception, such as a
        KeyboardInterrupt, ends the worker too, since nobody would read its answer.
        """
        if self._ended:
            raise WorkerCrashed(f"{self.name}: the worker was ended before {phase}; start another", phase=phase)
        try:
            if before is not None:
                self._send(before)
            self._remains.restore()
            self._send({"op": op, "params": params})
            message = self._last_message(time.monotonic() + deadline_s, on_progress)
        except self._channel.TimeoutError:
            raise self._overdue(phase, deadline_s) from None
        except EOFError:
            raise self._crashed(phase) from None
        except self._channel.RemoteError as error:
            self.kill()
            *_, last_line = str(error).strip().splitlines()
            details = redacted(str(error), self._remains.secrets)
            raise WorkerError(f"{self.name}: {last_line}", phase=phase, details=details) from None
        except msgspec.ValidationError as error:
            details = self._remains.details()
            self.kill()
            raise WorkerError(
                f"{self.name}: the worker's answer to {phase} is malformed: {error}", phase=phase, details=details
            ) from None
        except UnicodeEncodeError as error:
            self.kill()
            raise WorkerError(
                f"{self.name}: {phase} is about {error.object!r}, which is no UTF-8 text: rename that file or folder",
                phase=phase,
            ) from None
        except BaseException:
            self.kill()
            raise
        return result_of(message, phase)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process for the length of the block, in which it must not be asked for anything.

        A worker with nothing to do is not idle: the threads of ONNX Runtime look for work for 15 ms more. What it
        started goes on, so that the shell that ends it all with the worker is never stopped.
        """
        self._signal(os.kill, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(os.kill, signal.SIGCONT)

    def kill(self) -> None:
        """End the process and all that it started, at once. Does nothing to a worker that was ended."""
        if self._ended:
            return
        self._signal(os.killpg, signal.SIGKILL)
        self._ended = True
        if self.pid == self._process.pid:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a relay ends when the forked process is gone
            self._process.wait(_GRACE_S)
        self._process.kill()
        self._hang_up()
        self._group.terminate(timeout=_HANG_UP_S)
        self._remains.remove()

    def _hang_up(self) -> None:
        """See that the wire ends with the process: what it has started in a group of its own may hold it open."""
        try:
            self._channel.waitclose(_HANG_UP_S)
        except self._channel.TimeoutError:
            for pid in writers_of(self._process.stdout.fileno()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        except (EOFError, OSError, self._channel.RemoteError):
            pass

    def _signal(self, send: Callable[[int, int], None], signum: signal.Signals) -> None:
        if not self._ended:  # the number of an ended process may be another one's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self.pid, signum)

    def _send(self, request: Plain) -> None:
        from execnet import DumpError

        try:
            self._channel.send(request)
        except OSError as error:
            raise EOFError from error
        except DumpError as error:
            raise error.__cause__ or error from None

    def _last_message(self, until: float, on_progress: Progress | None) -> Message:
        """Wait for the answer, passing on progress and keeping the log small."""
        dead = False
        while True:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise self._channel.TimeoutError
            try:
                message = message_of(self._channel.receive(min(left_s, _LOOK_EVERY_S)))
            except self._channel.TimeoutError:
                if dead:  # and what it had said before has arrived by now
                    raise EOFError from None
                # The wire does not tell: something that it has started may hold it open, or have spoilt it.
                dead = self._process.poll() is not None
                self._waiting()
                continue
            finally:
                self._remains.trim()
            if message.progress is not None:
                (on_progress or _ignore)(*message.progress)
            elif message.secrets is not None:
                self._remains.secrets.update(message.secrets)
            elif message.notice is not None:
                self._announce(message.notice)
            else:
                return message

    def _overdue(self, phase: str, deadline_s: float) -> DeadlineExceeded:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        self._remains.wait_for_stacks()
        details = self._remains.details()
        self.kill()
        option = _DEADLINE_OF.get(phase, "--accel-run-timeout")
        return DeadlineExceeded(
            f"{self.name}: {phase} was still running after {deadline_s:g} s and was killed; "
            f"{option} gives it more time",
            phase=phase,
            details=details,
        )

    def _crashed(self, phase: str) -> WorkerCrashed:
        try:
            cause = ending(self._process.wait(timeout=_GRACE_S), more_oom_kills=oom_kills() > self._oom_kills)
        except subprocess.TimeoutExpired:
            cause = "closed its connection, or something in it wrote there what is no answer,"
        details = self._remains.details()
        self.kill()
        return WorkerCrashed(
            f"{self.name}: the worker {cause} during {phase}; --accel-in-process runs it where a debugger can follow",
            phase=phase,
            details=details,
        )


class InProcessWorker:
    """The same face without a process, for a debugger: nothing is isolated and no deadline is kept."""

    def __init__(self, name: str, accelerator: str, announce: Callable[[str], None] = _unheard) -> None:
        from pytest_accel.worker.serve import Operations

        module, _, attribute = accelerator.partition(":")
        self.name = name
        self.pid = os.getpid()
        self.alive = True
        used: Accelerator = getattr(importlib.import_module(module), attribute)()
        used.announce = announce
        self._operations = Operations(used)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def request(
        self,
        op: str,
        *,
        phase: str,
        deadline_s: float,  # the face of Worker
        on_progress: Progress | None = None,
        **params: Any,
    ) -> Plain:
        """Have one operation done here and now; the accelerator's own exception is the cause of what is raised."""
        from pytest_accel.worker.serve import described

        try:
            return self._operations.perform(op, params, on_progress or _ignore)
        except Exception as error:
            failure = error_of(FarError(**described(error)), phase)
            raise failure from (None if isinstance(failure, UnfitInput) else error)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stand in for `Worker.paused`: this process goes on, and no speed that it measures is judged."""
        yield

    def kill(self) -> None:
        """Let go of the accelerator: its process, which would free the device, goes on."""
        if self.alive:
            self.alive = False
            with contextlib.suppress(Exception):  # a process that ends does not say how its SDK takes that either
                self._operations.close()


AnyWorker: TypeAlias = Worker | InProcessWorker


class WorkerPool:
    """The workers of one session. ``interpreters`` maps an accelerator's name to the Python that has its SDK."""

    def __init__(
        self,
        interpreters: Mapping[str, str],
        in_process: bool,
        log_dir: Path,
        waiting: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = _unheard,
    ) -> None:
        self._interpreters = interpreters
        self._in_process = in_process
        self._log_dir = log_dir
        self._waiting = waiting
        self._announce = announce
        self._fork_servers = ForkServers(log_dir, waiting, _IMPORT_DEADLINE_S)
        self._shared: dict[str, AnyWorker] = {}
        self._fresh: list[AnyWorker] = []

    def shared(self, accelerator_name: str, reference: str) -> AnyWorker:
        """Return the accelerator's one worker, reused from test to test and replaced when it is gone."""
        if (worker := self._shared.get(accelerator_name)) is not None:
            if worker.alive:
                return worker
            worker.kill()  # which removes what a dead worker has left
        worker = self._shared[accelerator_name] = self._start(accelerator_name, reference)
        return worker

    def fresh(self, accelerator_name: str, reference: str) -> AnyWorker:
        """Return a worker for one launch: nothing was loaded in it before. Used in a ``with``, it ends there."""
        return self._kept(self._start(accelerator_name, reference))

    def forked(self, accelerator_name: str, reference: str, preload: Sequence[str]) -> AnyWorker:
        """Return a worker like a `fresh` one, from a process that has called ``preload``, where that can be."""
        return self._kept(self._start(accelerator_name, reference, preload))

    def end_fresh(self) -> None:
        """End every worker but the shared ones."""
        for worker in self._fresh:
            worker.kill()
        self._fresh.clear()

    def close(self) -> None:
        """End every worker."""
        self.end_fresh()
        for worker in self._shared.values():
            worker.kill()
        self._shared.clear()
        self._fork_servers.close()

    def _kept(self, worker: AnyWorker) -> AnyWorker:
        self._fresh = [*(earlier for earlier in self._fresh if earlier.alive), worker]
        return worker

    def _start(self, accelerator_name: str, reference: str, preload: Sequence[str] = ()) -> AnyWorker:
        if self._in_process:
            return InProcessWorker(accelerator_name, reference, self._announce)
        python = self._interpreters.get(accelerator_name, sys.executable)
        check_interpreter(accelerator_name, python)
        return Worker(
            accelerator_name,
            reference,
            python=python,
            log_dir=self._log_dir,
            waiting=self._waiting,
            announce=self._announce,
            fork_server=self._fork_servers.for_interpreter(str(Path.cwd() / python), preload),
        )


@functools.cache
def check_interpreter(name: str, python: str) -> None:
    """Raise `WorkerError` unless ``python`` can run the worker rooms. execnet itself would only say that it ended."""
    if python == sys.executable:
        return
    command = [python, "-c", "import sys, numpy; assert sys.version_info >= (3, 8), sys.version; print('fit')"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_START_DEADLINE_S, check=False)
        problem = "" if tried.stdout == "fit\n" else (tried.stderr.strip() or "it is no Python").splitlines()[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        raise WorkerError(
            f"cannot start a worker for {name!r} with {python}: {problem}. "
            "It has to be Python 3.8 or newer with NumPy: set accel_python to the one that has the SDK",
            phase="start",
        )


def no_temporary_files(error: OSError) -> WorkerError:
    """Return what is told where a worker has no place for its temporary files."""
    return WorkerError(
        f"the temporary folder cannot be used, so no worker starts: {error.strerror or error} ({error.filename}); "
        "free some space there, or set TMPDIR to another folder",
        phase="start",
    )


class FarError(msgspec.Struct, forbid_unknown_fields=True):
    """An exception of the other side; ``refused`` where it is a refusal in the vendor's words."""

    type: str
    message: str
    traceback: str
    refused: bool


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """What a worker says: how far it is, what the user is told at once, or at last a result or an error.

    ``secrets`` must not be shown of its log.
    """

    progress: tuple[float | None, str] | None = None
    secrets: list[str] | None = None
    notice: str | None = None
    error: FarError | None = None
    result: dict[str, Any] | None = None


def message_of(plain: object) -> Message:
    """Return a worker's message. Raises `msgspec.ValidationError` where it is none."""
    message = msgspec.convert(plain, Message)
    if message == Message():
        raise msgspec.ValidationError("it says nothing")
    return message


def result_of(message: Message, phase: str) -> Plain:
    """Return what an operation returned; raises what it raised."""
    if message.error is not None:
        raise error_of(message.error, phase)
    assert message.result is not None  # `message_of` lets no other one through
    return message.result


def error_of(error: FarError, phase: str) -> WorkerError:
    """Return an exception of the other side as one of ours, with the far traceback in its details."""
    message, details = error.message, error.traceback
    if error.refused and phase in ("compile", "deploy", "load"):
        return CompileFailed(message, phase=phase, details=details)
    if error.refused:  # a call with other arrays is the way out of it, and no traceback leads there
        return UnfitInput(message, phase=phase)
    if error.type == "MemoryError":
        message = message or "out of memory"
    return WorkerError(f"{phase} failed: {error.type}: {message}", phase=phase, details=details)
