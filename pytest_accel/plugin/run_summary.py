"""This module sums a run up: on the terminal, in reports, in the journal and, under ``--accel-strict``, by failing it.

It works in the process that sees every report. That is the only process, or xdist's controller.
"""

from __future__ import annotations

import datetime
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest

from pytest_accel.plugin.options import runs_no_tests
from pytest_accel.plugin.state import MARKED, REPORT_DATA, SESSION, WARNINGS, is_accelerator_test

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from pytest_accel.facts.records import Failure, RunRecord, TestRecord
    from pytest_accel.facts.settings import Settings
    from pytest_accel.plugin.report_data import ReportData
    from pytest_accel.store.history_entry import HistoryEntry
    from pytest_accel.store.journal import Journal


class RunSummary:
    """This is a plugin of its own, so that it can keep what the reports of a run carry."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = datetime.datetime.now(datetime.timezone.utc)
        self._started_s = time.monotonic()
        self._records: list[TestRecord] = []
        #: ``_measured`` is true when a test has measured something, even without a check, which leaves a record.
        self._measured = False
        self._absent: dict[str, str] = {}
        #: ``_skipped`` are the tests whose accelerator is absent.
        self._skipped: set[str] = set()
        self._deselected = False
        self._failures: list[Failure] = []
        #: ``_others`` are failures of which nobody knows whether accelerator tests were among them.
        self._others: list[Failure] = []
        #: ``_faults`` are what failed the run as a whole.
        self._faults: list[str] = []
        self._marked: set[str] = set()
        self._failed: set[str] = set()
        self._rerun: set[str] = set()
        self._warnings: list[str] = []
        self._waits_s: dict[str, float] = {}
        #: ``_history`` is the file that this run has added to the history.
        self._history: Path | None = None
        self._all_ran = False
        self._ran: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Note that nothing has broken the run off: neither Ctrl-C, nor ``pytest.exit``, nor ``-x``."""
        result = yield
        self._all_ran = True
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what the report of an accelerator test carries, and note what became of each test."""
        self._ran.add(report.nodeid)
        if report.failed:
            self._failed.add(report.nodeid)
        if report.failed and report.when not in ("setup", "call", "teardown"):  # xdist lost the process that ran it
            self._others.append(_failure(report))
        if hasattr(report, REPORT_DATA):
            from pytest_accel.plugin import report_data

            self._take(report, report_data.read(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take a file that could not be collected: nobody knows which tests are in it."""
        if report.failed:
            self._others.append(_failure(report))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which tests are marked, where this process collects them."""
        self._marked.update(item.nodeid for item in session.items if is_accelerator_test(item))

    def pytest_deselected(self) -> None:
        """Note that this run leaves tests out, in whatever way."""
        self._deselected = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note which tests a worker of xdist's has collected that are marked, and what it tells at its end."""
        output = getattr(node, "workeroutput", {})
        self._marked.update(output.get(MARKED, ()))
        self._warn(output.get(WARNINGS, ()))

    def _warn(self, sentences: Iterable[str]) -> None:
        """Take what the user should know, each sentence once."""
        self._warnings += [sentence for sentence in sentences if sentence not in self._warnings]

    def _take(self, report: pytest.TestReport, data: ReportData) -> None:
        self._absent.update(data.absent)
        if data.absent:
            self._skipped.add(report.nodeid)
        self._measured |= data.measured
        self._warn(data.warnings)
        if data.failure is not None and report.failed:  # a hook of the user may have changed the outcome
            self._failures.append(data.failure)
        if data.waited_s is not None:
            self._waits_s[report.nodeid] = data.waited_s
        if str(report.outcome) == "rerun":  # of a plugin that runs failing tests again
            self._rerun.add(report.nodeid)
        self._records += data.records
        for record in data.records:
            if record.key and not record.resumed:
                self._add_to_journal(record)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the reports. Fail a strict run that measured nothing, or nothing of one sweep."""
        if runs_no_tests(session.config):
            if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
                session.exitstatus = pytest.ExitCode.OK
            return
        if session.config.option.collectonly:
            return
        if (ours := session.config.stash.get(SESSION, None)) is not None:
            self._warn(ours.warnings)
        self._require_something(session)
        self._require_all_judged(session)
        self._look_for_unused_baselines(session)
        self._close_journal(session)
        if self._settings.history:
            self._write_history(session)
        if self._settings.reports:
            self._write_reports(session)
        if self._reports_to_github():
            self._summarise_on_github()

    def _require_something(self, session: pytest.Session) -> None:
        missing: list[str] = []
        if self._records:
            from pytest_accel.report import sweep

            missing += sweep.without_measurement(self._records)
        elif not self._measured and (self._settings.strict or self._settings.accelerators or self._absent):
            missing.append("no accelerator test ran: nothing was measured")
        self._warnings += missing
        if missing and self._settings.strict:
            self._fail(session, missing)

    def _require_all_judged(self, session: pytest.Session) -> None:
        """Fail a strict run in which a marked test was not judged, or a failing check has failed no test."""
        if self._broken_off(session):
            self._faults.append("the run was interrupted before its end")
        if not self._settings.strict:
            return
        from pytest_accel.plugin import completeness

        missing = [
            *completeness.unjudged(self._marked - self._failed, self._records),
            *completeness.swallowed(self._records, failed=self._failed, rerun=self._rerun),
        ]
        self._warnings += missing
        if missing:
            self._fail(session, missing)

    def _look_for_unused_baselines(self, session: pytest.Session) -> None:
        """Tell which baselines no test uses, where every test of the project came to a result."""
        settings, judged = self._settings, {record.test for record in self._records}
        if not self._records or self._deselected or self._broken_off(session) or self._others:
            return
        if settings.accelerators is not None or self._marked - judged - self._skipped:
            return
        if settings.against is not None or settings.compare:
            return
        from pytest_accel.plugin import completeness
        from pytest_accel.store.baselines import Baselines

        if completeness.is_full(session.config):
            self._warn(completeness.unused(Baselines(settings.baseline_dir), self._records, self._absent))

    def _broken_off(self, session: pytest.Session) -> bool:
        """Say whether the run ended before all of its tests had run."""
        # Not the exit status: pytest.exit sets any, and a second Ctrl-C comes before there is one.
        return not self._all_ran or bool(session.shouldstop or session.shouldfail)

    def _fail(self, session: pytest.Session, faults: list[str]) -> None:
        """Turn a run that would be green red."""
        self._faults += faults
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _add_to_journal(self, record: TestRecord) -> None:
        try:
            self._journal.append(record)
        except OSError as error:  # the results of this run do not depend on the journal
            warning = f"this run could not be resumed after an interruption: {error}"
            self._warnings += [warning] if warning not in self._warnings else []

    @cached_property
    def _journal(self) -> Journal:
        from pytest_accel.store.journal import Journal

        return Journal(self._journals(), self._began)

    def _journals(self) -> Path:
        from pytest_accel.store.cache import root_of
        from pytest_accel.store.journal import folder_of

        return folder_of(root_of(self._settings), self._settings.rootdir)

    def _close_journal(self, session: pytest.Session) -> None:
        """Keep the journal of an interrupted run and say so. Otherwise remove it and what was resumed from."""
        keep = self._broken_off(session)
        if self._records:
            self._journal.close(keep=keep)
            if keep and self._journal.lines:
                self._warnings.append("interrupted: --accel-resume measures only what is left")
        if self._settings.resume and not keep:
            from pytest_accel.store.journal import discard_left

            discard_left(self._journals(), self._ran)

    def _write_history(self, session: pytest.Session) -> None:
        """Keep what was measured, of a run that was broken off too: the run that resumes it adds it once."""
        from pytest_accel.facts.errors import AccelError
        from pytest_accel.store.history import History
        from pytest_accel.store.history_entry import entry_of, is_kept

        began, confidence = self._began, self._settings.confidence
        entries = [entry_of(record, began=began, confidence=confidence) for record in self._records if is_kept(record)]
        try:
            self._history = History(self._settings.baseline_dir).add(entries)
        except AccelError as error:
            self._warnings.append(f"--accel-history: {error}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _added_to_history(self) -> Iterator[str]:
        """Name the file that this run has added to the history."""
        if self._history is not None:
            yield f"{self._settings.shown(self._history)} added"

    @property
    def _began(self) -> str:
        return self._started.isoformat(timespec="seconds")

    def _run(self) -> RunRecord:
        from pytest_accel import __version__
        from pytest_accel.facts.records import RunRecord
        from pytest_accel.report.record import SCHEMA
        from pytest_accel.worker.wire import legible

        return RunRecord(
            schema=SCHEMA,
            version=__version__,
            started=self._began,
            duration_s=round(time.monotonic() - self._started_s, 3),
            tests=tuple(self._records),
            absent=self._absent,
            warnings=tuple(legible(self._warnings)),
            failures=(*self._failures, *self._others),
            confidence=self._settings.confidence,
            strict=self._settings.strict,
            faults=tuple(legible(self._faults)),
        )

    def _write_reports(self, session: pytest.Session) -> None:
        from pytest_accel.facts.errors import AccelError
        from pytest_accel.report.write import write

        history = self._known_history()
        run = self._run()
        for path in self._settings.reports:
            try:
                write([run], path, history)
            except AccelError as error:
                self._warnings.append(f"--accel-report={error}")
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _known_history(self) -> tuple[HistoryEntry, ...]:
        """Read the history where a page draws it, and tell what of it cannot be read."""
        from pytest_accel.facts.report_formats import PAGE, suffix_of
        from pytest_accel.store.history import History

        if not any(suffix_of(path) == PAGE for path in self._settings.reports):
            return ()

        known = History(self._settings.baseline_dir).read()
        self._warn(known.faults)
        return known.entries

    def _reports_to_github(self) -> bool:
        if not self._settings.github or not (self._records or self._failures or self._absent or self._warnings):
            return False
        from pytest_accel.report import github

        return github.is_here()

    def _summarise_on_github(self) -> None:
        from pytest_accel.facts.errors import AccelError
        from pytest_accel.report import github

        try:
            github.summarise(self._run())
        except AccelError as error:  # the verdicts hold, even where GitHub does not show them
            self._warnings.append(str(error))

    def _annotations(self, config: pytest.Config) -> Iterator[str]:
        from pytest_accel.report import github, notes

        # That plugin annotates every failing test, accelerator tests among them.
        if not config.pluginmanager.hasplugin("pytest_github_actions_annotate_failures"):
            yield from github.errors(self._failures, self._settings.rootdir)
        yield from github.warnings([*notes.notes(self._records), *self._old(), *self._warnings])

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Sum the run up for people. GitHub Actions, too, reads its commands from the terminal's output."""
        if self._records or self._absent or self._warnings or self._waits_s:
            self._sum_up(terminalreporter)
        if self._reports_to_github():
            for annotation in self._annotations(config):
                terminalreporter.write_line(annotation)

    def _sum_up(self, terminalreporter: Any) -> None:
        """Write a line for each variant and a table for each sweep. Notes that a green run has follow."""
        from pytest_accel.report import figures, notes, sweep, terminal

        records, confidence = self._records, self._settings.confidence
        single, sweeps = sweep.split(records)
        terminalreporter.section("accelerators")
        for record, line in zip(single, terminal.summary(single, confidence), strict=True):
            terminalreporter.write_line(line, **{figures.colour(record): True})
        for variants in sweeps:
            for text, colour in sweep.table(variants, confidence):
                terminalreporter.write_line(text, **({colour: True} if colour else {}))
        kinds = (notes.comparisons, notes.changes, notes.savings, notes.resumptions)
        facts = [fact for kind in kinds for fact in kind(records)]
        for fact in [*facts, *self._added_to_history(), *notes.waits(self._waits_s)]:
            terminalreporter.write_line(fact)
        for note in [*notes.notes(records), *self._old(), *notes.absences(self._absent), *self._warnings]:
            terminalreporter.write_line(note, yellow=True)

    def _old(self) -> Iterator[str]:
        """Say which baselines are too old, unless this run was to renew them."""
        from pytest_accel.report import notes

        if self._settings.replaces_baselines:
            return iter(())
        max_age_days, today = self._settings.baseline_max_age_days, self._started.date()
        return notes.old_baselines(self._records, max_age_days=max_age_days, today=today)


def _failure(report: pytest.TestReport | pytest.CollectReport) -> Failure:
    """Describe a failure that carries nothing of ours."""
    from pytest_accel.facts.records import Failure
    from pytest_accel.worker.wire import legible

    file, _, _ = report.nodeid.partition("::")
    return Failure(test=report.nodeid, file=file, line=1, message=legible(report.longreprtext))
