"""Runs as a page of its own: no script, nothing fetched, everything that a record says escaped.

The plots are SVG that the template draws. A plotting library would add megabytes of script to each page, for pictures
that a browser without scripts, a mail or a CI server that forbids them would not show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.report import overview, plots

if TYPE_CHECKING:
    from pytest_accel.report.overview import Overview


def page(told: Overview) -> str:
    """The page as text. It needs jinja2, which comes with the extra ``report``."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_accel.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = [
        (table, plots.forest(table), plots.scatter(table), plots.curves(table, told.confidence))
        for table in told.tables
    ]
    return environment.get_template("page.html.jinja").render(
        told=told,
        drawn=[(table, *found) for table, *found in drawn if any(found)],
        failed={failure.test: nth for nth, failure in enumerate(told.failures, start=1)},
        answers=overview.answers,
        signs=overview.SIGNS,
        words=overview.WORDS,
        any=any,
        zip=zip,
    )
