"""Write the report of runs as one HTML page, without scripts and without anything to fetch. All text is escaped.

The plots are SVG that the template draws. A plotting library would add megabytes of script to each page, and many CI
servers and mail programs forbid scripts.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pytest_accel.report.answers import answers
from pytest_accel.report.model_table import SIGNS, WORD_COLUMNS
from pytest_accel.report.plots.curves import curves
from pytest_accel.report.plots.forest import forest
from pytest_accel.report.plots.scatter import scatter
from pytest_accel.report.plots.timeline import timeline

if TYPE_CHECKING:
    import jinja2

    from pytest_accel.report.overview import Overview


def page(overview: Overview) -> str:
    """Write the page. It needs jinja2, which comes with the extra ``report``."""
    plots = [(table, forest(table), scatter(table), curves(table, overview.confidence)) for table in overview.tables]
    return _template().render(
        overview=overview,
        plots_by_table=[(table, *drawn) for table, *drawn in plots if any(drawn)],
        timelines=[drawn for drawn in map(timeline, overview.history) if drawn is not None],
        failed={failure.test: number for number, failure in enumerate(overview.failures, start=1)},
        answers=answers,
        signs=SIGNS,
        word_columns=WORD_COLUMNS,
        any=any,
        zip=zip,
    )


@functools.cache
def _template() -> jinja2.Template:
    """Return the template, which takes longer to compile than to fill in."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pytest_accel.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
