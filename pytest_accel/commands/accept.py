"""``pytest-accel accept`` holds an accelerator to everything that is promised, on the machine with its hardware."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.commands.console import DONE, FOUND

if TYPE_CHECKING:
    from pytest_accel.acceptance.subject import Subject
    from pytest_accel.facts.acceptance import Acceptance, CheckResult

#: _COMPARE_S is the number of seconds after which a comparison gets no more launches.
_COMPARE_S = 60.0


def add(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command.add_argument("accelerators", nargs="*", metavar="NAME", help="accelerators, such as gpu-trt")
    output = "the file with the results; the vendor's own answers are kept in a folder beside it"
    command.add_argument("-o", "--output", type=Path, metavar="PATH", help=output)
    only = "make only checks whose names begin so; repeatable, and the acceptance stays partial"
    command.add_argument("--only", action="append", default=[], metavar="CHECK", help=only)
    resume = "go on with the file: keep what is decided, and make the checks that are missing or inconclusive"
    command.add_argument("--resume", action="store_true", help=resume)
    python = "the interpreter that has the SDK, where it is not this one"
    command.add_argument("--python", default="", metavar="PATH", help=python)
    show = "make no check, and print the table of the acceptances in these files"
    command.add_argument("--show", nargs="+", type=Path, metavar="FILE", help=show)
    page = "with --show: write the table into this page too, between its two marks"
    command.add_argument("--page", type=Path, metavar="PATH", help=page)
    command.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.show:
        return _show(arguments.show, arguments.page)
    if not arguments.accelerators or arguments.output is None:
        from pytest_accel.facts.errors import UsageError

        raise UsageError("accept needs the name of an accelerator and a file: pytest-accel accept cpu -o accept.json")
    stored = _stored(arguments.output) if arguments.resume else {}
    accepted = [_accept(name, arguments, stored) for name in dict.fromkeys(arguments.accelerators)]
    return FOUND if any(each.standing in ("failed", "absent") for each in accepted) else DONE


def _stored(path: Path) -> dict[str, Acceptance]:
    from pytest_accel.acceptance.record import read

    return {acceptance.accelerator: acceptance for acceptance in read(path)} if path.exists() else {}


def _show(files: list[Path], page: Path | None) -> int:
    from pytest_accel.acceptance.record import read
    from pytest_accel.inputs.registry import BUILTIN
    from pytest_accel.report.acceptance_table import page_with, table
    from pytest_accel.store.files import write_whole

    made = table([acceptance for path in files for acceptance in read(path)], BUILTIN)
    if page is not None:
        write_whole(page, page_with(page.read_text(encoding="utf-8"), made))
    print(made)
    return DONE


def _accept(name: str, arguments: argparse.Namespace, stored: dict[str, Acceptance]) -> Acceptance:
    """Make the checks of one accelerator and add them to ``stored``.

    The file is written after each check, so that Ctrl-C keeps what is there.
    """
    from pytest_accel.acceptance.record import write
    from pytest_accel.acceptance.run import accept
    from pytest_accel.report.acceptance_table import row
    from pytest_accel.store.files import write_whole

    write(list(stored.values()), arguments.output)  # before minutes of work that could not be kept
    earlier = stored.get(name)
    told = list(earlier.results) if earlier else []
    with subject_of(name, arguments.python) as subject:
        for acceptance in accept(subject, arguments.only, earlier):
            if told and not acceptance.results and not acceptance.absent:
                print(f"{name}: the versions in {arguments.output} are others, so all checks are made anew")
                told.clear()
            for result in (each for each in acceptance.results if each not in told):
                told.append(result)
                print(_line(name, result))
            if earlier and acceptance.absent:
                break  # what was found out when it was here stays
            stored[name] = acceptance
            write(list(stored.values()), arguments.output)
        folder = arguments.output.with_suffix("") / name
        for file, text in subject.raw_answers.items():
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / file, text)
    print(row(acceptance))
    return acceptance


def _line(name: str, result: CheckResult) -> str:
    return f"{result.outcome:<14}  {name:<12}  {result.check:<16}  {result.seconds:5.1f} s  {result.reason}"


@contextmanager
def subject_of(name: str, python: str) -> Iterator[Subject]:
    """Give the accelerator in a session of its own, whose files go with it."""
    from pytest_accel.acceptance.subject import Subject
    from pytest_accel.facts.settings import Settings
    from pytest_accel.inputs.registry import Registry
    from pytest_accel.report.progress import ProgressLine
    from pytest_accel.session.session import Session
    from pytest_accel.store.scratch import Scratch

    registry = Registry.discover()
    registry.find(name)
    scratch = Scratch()
    settings = Settings(
        rootdir=scratch.path,
        baseline_dir=scratch.path / "baselines",
        cache_dir=scratch.path / "cache",
        compare_budget_s=_COMPARE_S,
        interpreters={name: python} if python else {},
    )
    tell = ProgressLine(lambda text: print(text, end="", file=sys.stderr, flush=True), rewrites=sys.stderr.isatty())
    session = Session(settings, registry, tell=tell)
    try:
        yield Subject(session, name, scratch.path, {}, {})
    finally:
        session.close()
        scratch.close()
