"""Workers: the processes in which accelerators run, from their start to whichever end they come to.

A worker is an interpreter started through execnet. It answers one request at a time, and nothing that it does (crash,
hang, print without end) reaches further than the request. What requests mean is in `client`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from pytest_accel.facts.errors import DeadlineExceeded, HostLost, UnfitInput, WorkerCrashed, WorkerError
from pytest_accel.processes.fork_server import ForkServer, ForkServers
from pytest_accel.processes.messages import FarError, Message, error_of, message_of, result_of
from pytest_accel.processes.place import HANG_UP_S, NO_START, START_DEADLINE_S, Here, Place
from pytest_accel.processes.post_mortem import ending
from pytest_accel.processes.shipping import cargo_for
from pytest_accel.worker.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from pytest_accel.processes.host import HostConnection
    from pytest_accel.worker.accelerator import Accelerator, Progress
    from pytest_accel.worker.wire import Plain


#: _IMPORT_DEADLINE_S is the number of seconds after which a fork server that still imports is given up.
_IMPORT_DEADLINE_S = 300.0
#: _LOOK_EVERY_S is the number of seconds between two looks of a waiting controller at the size of the worker's log.
_LOOK_EVERY_S = 0.25
#: _DEADLINE_OF names the option with the deadline of a phase that has one of its own.
_DEADLINE_OF = {"compile": "--accel-compile-timeout", "deploy": "--accel-deploy-timeout"}


def _ignore(share: float | None, doing: str) -> None: ...


def _unheard(sentence: str) -> None: ...


class Worker:
    """One accelerator in one process of its own.

    ``python`` is the interpreter to start, ``accelerator`` a ``"module:Class"`` whose source is sent to it. With
    ``fork_server`` the process is forked there, by an interpreter of the same kind. ``place`` is the machine, which is
    this one by default, where ``log_dir`` has what the worker leaves. ``waiting`` is called now and then while a
    request is waited for. Raises `WorkerError` when the interpreter cannot be started or the accelerator cannot be
    imported there.
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
        place: Place | None = None,
    ) -> None:
        if place is None:
            check_interpreter(name, python)
        sources, stand_ins = cargo_for(accelerator)
        self.name = name
        self.place = place or Here(log_dir)
        self._words = f"{name}{self.place.words}"
        self._waiting = waiting
        self._announce = announce
        self._ended = False
        self._secrets: set[str] = set()
        try:
            self._paths = self.place.ask("prepare_worker")
        except OSError as error:
            raise no_temporary_files(error) from None
        self._oom_kills = self.place.ask("oom_kills")["count"]
        self.pid = 0
        # The path stays as it is: a virtual environment is found by the name of its link.
        self._start(fork_server.command() if fork_server else [str(Path.cwd() / python)])
        cargo = {"accelerator": accelerator, **self.place.cargo(sources, stand_ins), **self._paths}
        self.pid = self.request("hello", phase="start", deadline_s=START_DEADLINE_S, before=cargo)["pid"]
        self.place.tell("watch_wire", pid=self.pid)

    def _start(self, command: Sequence[str]) -> None:
        try:
            self._interpreter = self.place.start(command)
        except NO_START as error:
            self._remove_remains()
            raise WorkerError(
                f"{self._words}: {command[0]} does not start as a Python ({error}): see what `{command[0]} -c pass` "
                "prints and how it ends; a sitecustomize or a .pth file may be in the way",
                phase="start",
            ) from None
        self._channel = self._interpreter.channel
        self.pid = self._interpreter.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def alive(self) -> bool:
        """Whether it can take a request."""
        return not self._ended and self._interpreter.status() is None

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
            raise WorkerCrashed(f"{self._words}: the worker was ended before {phase}; start another", phase=phase)
        try:
            if before is not None:
                self._send(before)
            self.place.tell("restore_folder", temporary=self._paths["temporary"])
            self._send({"op": op, "params": params})
            message = self._last_message(time.monotonic() + deadline_s, on_progress)
        except self._channel.TimeoutError:
            raise self._overdue(phase, deadline_s) from None
        except EOFError:
            raise self._crashed(phase) from None
        except self._channel.RemoteError as error:
            self.kill()
            *_, last_line = str(error).strip().splitlines()
            details = redacted(str(error), self._secrets)
            raise WorkerError(f"{self._words}: {last_line}", phase=phase, details=details) from None
        except msgspec.ValidationError as error:
            details = self._last_words()
            self.kill()
            raise WorkerError(
                f"{self._words}: the worker's answer to {phase} is malformed: {error}", phase=phase, details=details
            ) from None
        except UnicodeEncodeError as error:
            self.kill()
            raise WorkerError(
                f"{self._words}: {phase} is about {error.object!r}, which is no UTF-8 text: rename that file or folder",
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
        self._tell("stop_process", pid=self.pid)
        try:
            yield
        finally:
            self._tell("resume_process", pid=self.pid)

    def kill(self) -> None:
        """End the process and all that it started, at once. Does nothing to a worker that was ended."""
        if self._ended:
            return
        self._tell("kill_process", pid=self.pid)
        self._interpreter.bury(self.pid)
        self._hang_up()
        self._ended = True
        self._interpreter.end()
        self._remove_remains()

    def _hang_up(self) -> None:
        """See that the wire ends with the process: what it has started in a group of its own may hold it open."""
        try:
            self._channel.waitclose(HANG_UP_S)
        except self._channel.TimeoutError:
            self._tell("kill_writers", pid=self.pid)
        except (EOFError, OSError, self._channel.RemoteError):
            pass

    def _remove_remains(self) -> None:
        self.place.tell("remove_remains", temporary=self._paths["temporary"])

    def _tell(self, op: str, **params: Any) -> None:
        if not self._ended:  # the number of an ended process may be another one's by now
            self.place.tell(op, **params)

    def _last_words(self) -> str:
        asked = self.place.ask("last_words", temporary=self._paths["temporary"], secrets=sorted(self._secrets))
        return str(asked["text"])

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
                dead = self._interpreter.status() is not None
                self._waiting()
                continue
            finally:
                self.place.watch(self._paths["temporary"])
            if message.progress is not None:
                (on_progress or _ignore)(*message.progress)
            elif message.secrets is not None:
                self._secrets.update(message.secrets)
            elif message.notice is not None:
                self._announce(message.notice)
            else:
                return message

    def _overdue(self, phase: str, deadline_s: float) -> WorkerError:
        self._tell("show_stacks", pid=self.pid)
        try:
            self.place.ask("wait_for_stacks", temporary=self._paths["temporary"])
            details = self._last_words()
        except HostLost as lost:
            return self._lost(lost, phase)
        self.kill()
        option = _DEADLINE_OF.get(phase, "--accel-run-timeout")
        return DeadlineExceeded(
            f"{self._words}: {phase} was still running after {deadline_s:g} s and was killed; "
            f"{option} gives it more time",
            phase=phase,
            details=details,
        )

    def _crashed(self, phase: str) -> WorkerError:
        try:
            status = self._interpreter.wait()
            more_oom_kills = self.place.ask("oom_kills")["count"] > self._oom_kills
            details = self._last_words()
        except HostLost as lost:
            return self._lost(lost, phase)
        cause = (
            "closed its connection, or something in it wrote there what is no answer,"
            if status is None
            else ending(status, more_oom_kills=more_oom_kills)
        )
        self.kill()
        return WorkerCrashed(
            f"{self._words}: the worker {cause} during {phase}; --accel-in-process runs it where a debugger can follow",
            phase=phase,
            details=details,
        )

    def _lost(self, lost: HostLost, phase: str) -> HostLost:
        self.kill()
        return HostLost(f"{self.name}: {lost} It happened during {phase}.", phase=phase)


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
    """The workers of one session. ``interpreters`` maps an accelerator's name to the Python that has its SDK.

    ``host_of`` returns the connection to the machine that an accelerator is on, and None where that is this one.
    """

    def __init__(
        self,
        interpreters: Mapping[str, str],
        in_process: bool,
        log_dir: Path,
        waiting: Callable[[], None] = lambda: None,
        announce: Callable[[str], None] = _unheard,
        host_of: Callable[[str], HostConnection | None] = lambda _accelerator: None,
    ) -> None:
        self._interpreters = interpreters
        self._in_process = in_process
        self._log_dir = log_dir
        self._waiting = waiting
        self._announce = announce
        self._host_of = host_of
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
        host = self._host_of(accelerator_name)
        if self._in_process and host is None:
            return InProcessWorker(accelerator_name, reference, self._announce)
        start = functools.partial(
            Worker,
            accelerator_name,
            reference,
            log_dir=self._log_dir,
            waiting=self._waiting,
            announce=self._announce,
        )
        if host is not None:  # it has no fork server
            return start(python=host.python, place=host)
        python = self._interpreters.get(accelerator_name, sys.executable)
        check_interpreter(accelerator_name, python)
        return start(python=python, fork_server=self._fork_servers.for_interpreter(str(Path.cwd() / python), preload))


@functools.cache
def check_interpreter(name: str, python: str) -> None:
    """Raise `WorkerError` unless ``python`` can run the worker rooms. execnet itself would only say that it ended."""
    if python == sys.executable:
        return
    command = [python, "-c", "import sys, numpy; assert sys.version_info >= (3, 8), sys.version; print('fit')"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=START_DEADLINE_S, check=False)
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
