"""One run of pytest for a trial: in a process of its own, with its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.bisect.trial import Trial, reason_of, verdicts_of, why_unusable
from pytest_accel.facts.errors import AccelError
from pytest_accel.facts.records import SHOWN_OF_COMMIT
from pytest_accel.report.record import read_record

if TYPE_CHECKING:
    from pytest_accel.facts.progress import StepProgress
    from pytest_accel.facts.records import RunRecord

#: UNASKED_COMPARE_S is the time in seconds for a comparison whose answer nobody needs.
UNASKED_COMPARE_S = 1.0
#: _LOOK_EVERY_S is the number of seconds between two looks at whether pytest has ended.
_LOOK_EVERY_S = 0.2
#: _PATIENCE_S is the number of seconds that pytest may take to end after Ctrl-C, before it is killed.
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Place:
    """Where pytest runs: an interpreter, the folder to start it in, and variables that it gets besides ours."""

    python: Path
    folder: Path
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Terms:
    """How a trial is judged: beside which opponent, how surely, and for how long at most."""

    opponent: str
    confidence: float
    compare_budget_s: float

    @property
    def options(self) -> list[str]:
        """The options of pytest that say so. The last one of a name counts, so these follow the user's."""
        settings = {"confidence": f"{self.confidence:.12g}", "compare_budget": f"{self.compare_budget_s:g}"}
        against = [f"--accel-against={self.opponent}"] if self.opponent else []
        return [*against, *(word for name, value in settings.items() for word in ("-o", f"accel_{name}={value}"))]


@dataclass(frozen=True)
class PytestRun:
    """What every run of a search has in common: the test, the compile cache, and where the logs lie.

    ``selection`` is what the user gave: a test and options of pytest.
    """

    selection: Sequence[str]
    logs: Path
    tell: StepProgress

    def __call__(self, name: str, place: Place, cache: Path, terms: Terms) -> Trial:
        """Run the test for the point ``name``, and return what it shows."""
        self.logs.mkdir(parents=True, exist_ok=True)
        base = self.logs / f"{len(list(self.logs.glob('*.log'))) + 1:03}-{name[:20]}"
        record, log = base.with_name(f"{base.name}.json"), base.with_name(f"{base.name}.log")
        began_s = time.monotonic()
        with log.open("wb") as output:
            command = self._command(place, cache, record, terms)
            status = self._wait(command, place, output.fileno(), name[:SHOWN_OF_COMMIT])
        seconds = time.monotonic() - began_s
        return _trial(name, _read(record), status, terms, seconds, log)

    def _command(self, place: Place, cache: Path, record: Path, terms: Terms) -> list[str]:
        where = [f"--accel-cache-dir={cache}", f"--accel-report={record}", "-o", "accel_github=false"]
        return [str(place.python), "-m", "pytest", *self.selection, *where, *terms.options]

    def _wait(self, command: Sequence[str], place: Place, output: int, name: str) -> int:
        """Wait for the end of pytest. It has a session of its own, so that Ctrl-C reaches it once, through us."""
        process = subprocess.Popen(
            command,
            cwd=place.folder,
            env={**os.environ, **place.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _ended_at_last(process):
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_LOOK_EVERY_S)
                self.tell(f"running {name}")


@contextmanager
def _ended_at_last(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let pytest end as after Ctrl-C where this process is interrupted; kill what has not ended in time."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(_PATIENCE_S)
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(record: Path) -> RunRecord | None:
    try:
        return read_record(record)
    except AccelError:  # pytest has ended before it could write one
        return None


def _trial(point: str, run: RunRecord | None, status: int, terms: Terms, seconds: float, log: Path) -> Trial:
    """Say what the run shows; a reason without verdicts where that is nothing."""
    shared = Trial(
        point=point,
        confidence=terms.confidence,
        compare_budget_s=terms.compare_budget_s,
        seconds=seconds,
        log=str(log),
        reason=why_unusable(run, status),
    )
    if run is None or shared.reason:
        return shared
    (check,) = run.tests
    return msgspec.structs.replace(shared, verdicts=verdicts_of(check), ratio=check.ratio, reason=reason_of(check))
