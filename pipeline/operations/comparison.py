"""What a new model means for the vectors of the last blessed one, as a table and in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from modules.compatibility import CompatibilityReport, Way
from modules.settings import Verdict
from pipeline.metadata import Evaluation

_ADVICE: dict[Verdict, str] = {
    "keep": "keep an index of the old vectors as it is",
    "map": "map queries into an index of the old vectors, or re-embed it",
    "re_embed": "re-embed an index of the old vectors",
}
_ROWS: dict[Verdict, str] = {
    "keep": "new queries, old vectors",
    "map": "mapped queries, old vectors",
    "re_embed": "new queries, new vectors",
}


def comparison_table(report: CompatibilityReport) -> Table:
    """The ways of searching, beside the last blessed model."""
    table = Table(title="Beside the last blessed model", title_justify="left")
    table.add_column("search")
    for name in ("P@1", "MAP@R", "negative flips", "positive flips"):
        table.add_column(name, justify="right")
    rows = {"old queries, old vectors": report.own}
    rows |= {_ROWS[verdict]: way for verdict, way in report.ways.items()}
    for name, way in rows.items():
        table.add_row(escape(name), *_figures(way))
    return table


def _figures(way: Way) -> list[str]:
    values = way.precision_at_1, way.map_at_r, way.negative_flips, way.positive_flips
    return [f"{value:.4f}" for value in values]


def describe_comparison(evaluation: Evaluation) -> Iterator[str]:
    """Says what an index of the old vectors needs, and how the results of logged queries change."""
    report, churn = evaluation.compatibility, evaluation.churn
    if report:
        yield f"Compatibility: {_ADVICE[report.verdict]}: {report.why}."
    if churn and not churn.queries:
        unusable = f" that can be used ({churn.unusable:,} cannot)" if churn.unusable else ""
        yield f"Churn: there are no logged queries{unusable}."
    elif churn and not math.isnan(churn.changed):
        unusable = f" ({churn.unusable:,} more cannot be used)" if churn.unusable else ""
        yield (
            f"Churn: of {churn.queries:,} logged queries{unusable} {churn.changed:.2%} have "
            f"another first result, overlap@{churn.k} is {churn.overlap:.4f}, and "
            f"{churn.outside:.2%} are outside of the gallery (before {churn.outside_before:.2%})."
        )
