"""The page of a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from markupsafe import Markup

from modules.gate import BASELINE, CANDIDATE, CHANGE, OVERALL, EvaluationReport
from modules.report.charts import Line, Mark, change_chart, histogram, line_chart
from modules.report.choosing import Chosen, choose, find_confusions
from modules.report.embedding_map import FITTED
from modules.report.facts import Facts
from modules.report.numbers import is_count, page_number, signed
from modules.report.page_data import page_data
from modules.report.pair_distances import pair_distances
from modules.report.templates import in_script, render
from modules.report.verdict import changes, checks
from modules.retrieval import INTERVAL_LEVEL
from modules.runtime import best_effort, shown

_CLASS_BARS = 300  # the worst; a browser should not draw more
_TAKEN_FOR = 12


class ClassBar(NamedTuple):
    """A class: name, queries, MAP@R of candidate and baseline as parts of 1, and in words."""

    name: str
    queries: int
    value: float
    before: float | None
    shown: str
    change: str


def render_report(facts: Facts) -> str:
    """Writes the page: HTML that needs no other file.

    Args:
        facts: All that is known. A part that cannot be drawn is left out, with a warning.
    """
    evaluation = facts.evaluation
    chosen = None if facts.queries is None else choose(facts.queries, facts.map_images)
    overall = evaluation.metrics[CANDIDATE][OVERALL]
    return render(
        "report.html",
        "report.js",
        facts=facts,
        overall=overall,
        baseline=evaluation.metrics.get(BASELINE, {}).get(OVERALL, {}),
        checks=checks(facts.thresholds, evaluation),
        change_chart=_change_chart(facts),
        level=evaluation.metrics.get(CHANGE, {}).get(OVERALL, {}).get(INTERVAL_LEVEL),
        metrics=_metric_rows(evaluation),
        curves=_curves_at_k(facts),
        classes=_class_bars(evaluation)[:_CLASS_BARS],
        class_count=len(_class_bars(evaluation)),
        pairs=_pair_charts(facts),
        training=_training_charts(facts),
        **_looking(facts, chosen),
    )


def failure_page(pipeline: str, reason: str) -> str:
    """A small page in place of a report that could not be written.

    Args:
        pipeline: Its name.
        reason: What went wrong.
    """
    return render("failed.html", pipeline=shown(pipeline), reason=shown(reason, 2000))


def _looking(facts: Facts, chosen: Chosen | None) -> dict[str, Any]:
    """What the page shows of single images."""
    nothing: dict[str, Any] = {
        "data": None, "confusions": [], "kept": 0, "wrong": 0, "mapped": 0, "fitted": 0,
        "neighbours": 0, "list_sizes": {},
    }  # fmt: skip
    queries = facts.queries
    if queries is None or chosen is None:
        return nothing
    with best_effort("the images of the report"):
        data = page_data(queries, chosen, facts.labels, facts.pictures)
        image_of = {one: number for number, one in enumerate(chosen.ids)}
        confusions = [
            {
                "label": one.label,
                "taken_for": one.taken_for,
                "count": one.queries,
                "share": one.share,
                "examples": [
                    (image_of[queries.ids[row]], image_of[queries.neighbours[row, 0]])
                    for row in one.examples
                    if queries.ids[row] in image_of and queries.neighbours[row, 0] in image_of
                ],
            }
            for one in find_confusions(queries, dict(facts.labels), _TAKEN_FOR)
        ]
        return {
            "data": in_script(data),
            "confusions": confusions,
            "kept": len(queries.ids),
            "wrong": chosen.wrong,
            "mapped": len(data["map"]["x"]) if data["map"] else 0,
            "fitted": FITTED,
            "neighbours": queries.neighbours.shape[1],
            "list_sizes": {name: len(rows) for name, rows in data["lists"].items()},
        }
    return nothing


def _metric_rows(evaluation: EvaluationReport) -> list[dict[str, str]]:
    """The metrics of the whole split; the capped ones where they differ."""
    of = {kind: evaluation.metrics.get(kind, {}).get(OVERALL, {}) for kind in
          (CANDIDATE, BASELINE, CHANGE)}  # fmt: skip
    intervals = evaluation.intervals.get(CHANGE, {}).get(OVERALL, {})
    own = evaluation.intervals.get(CANDIDATE, {}).get(OVERALL, {})
    rows = []
    for name, value in of[CANDIDATE].items():
        if "_capped" in name and value == of[CANDIDATE].get(name.replace("_capped", "")):
            continue
        interval = intervals.get(name)
        moved = not is_count(name) and math.isfinite(of[CHANGE].get(name, math.nan))
        rows.append(
            {
                "name": name,
                "value": page_number(value, name),
                "interval": _ends(own.get(name), page_number),
                "before": page_number(of[BASELINE][name], name) if name in of[BASELINE] else "",
                "change": signed(of[CHANGE][name]) if moved else "",
                "change_interval": _ends(interval, signed),
            }
        )
    return rows


def _ends(interval: tuple[float, float] | None, form: Callable[[float], str]) -> str:
    return "" if interval is None else f"{form(interval[0])} to {form(interval[1])}"


def _change_chart(facts: Facts) -> Markup | None:
    found = changes(facts.thresholds, facts.evaluation)
    title = "; ".join(f"{one.name} {signed(one.value)}" for one in found)
    return change_chart(found, f"Changes from the last blessed model: {title}") if found else None


def _curves_at_k(facts: Facts) -> list[tuple[str, Markup]]:
    """Charts of the metrics at k."""
    ks = [float(k) for k in sorted(facts.thresholds.ks)]
    charts = []
    for name, title in (("precision", "P@k"), ("recall", "recall@k"), ("ndcg", "nDCG@k")):
        lines = []
        for kind in (BASELINE, CANDIDATE):
            values = facts.evaluation.metrics.get(kind, {}).get(OVERALL)
            if values:
                ys = [values.get(f"{name}@{k:g}", math.nan) for k in ks]
                words = "last blessed" if kind == BASELINE else "this model"
                lines.append(Line(words, ks, ys, kind, dots=True))
        chart = line_chart(lines, title=f"{title} over k", x_label="k", unit=True, whole_x=True)
        charts.append((title, chart))
    return charts[:2]


def _class_bars(evaluation: EvaluationReport) -> list[ClassBar]:
    """The slices of one label, the worst MAP@R first; those without a score last."""
    found = []
    for name, values in evaluation.metrics[CANDIDATE].items():
        if not name.startswith("label="):
            continue
        value = values["map@r"]
        before = evaluation.metrics.get(BASELINE, {}).get(name, {}).get("map@r", math.nan)
        both = math.isfinite(value) and math.isfinite(before)
        found.append(
            ClassBar(
                shown(name.removeprefix("label=")),
                int(values["queries"]),
                value if math.isfinite(value) else 0.0,
                before if math.isfinite(before) else None,
                page_number(value),
                signed(value - before) if both else "",
            )
        )
    return sorted(found, key=lambda bar: (bar.shown == "–", bar.value, bar.name))


def _pair_charts(facts: Facts) -> dict[str, Any] | None:
    """The distances of pairs and the curve of errors, with the threshold where there is one."""
    if facts.queries is None:
        return None
    with best_effort("the distances in the report"):
        found = pair_distances(facts.queries.embeddings, facts.queries.labels)
        if found is None:
            return None
        point = facts.evaluation.operating_point
        at = [] if point is None else [Mark(point.threshold, f"threshold {point.threshold:.3f}")]
        rate = [] if point is None else [
            Mark(point.measured_false_accept_rate, f"FAR {point.measured_false_accept_rate:.2g}")
        ]  # fmt: skip
        shown_rates = found.false_accepts > 0
        curve = Line(
            "this model", found.false_accepts[shown_rates].tolist(),
            found.true_accepts[shown_rates].tolist(),
        )  # fmt: skip
        return {
            "queries": found.queries,
            "point": point,
            "histogram": histogram(
                found.edges,
                [("two classes", found.different, "wrong"), ("one class", found.same, "right")],
                title="Distances of pairs of queries of one class and of two",
                x_label="squared distance",
                marks=at,
            ),
            "roc": line_chart(
                [curve],
                title="True accept rate over false accept rate",
                x_label="false accept rate",
                y_label="true accept rate",
                log_x=True,
                unit=True,
                marks=rate,
            ),
        }
    return None


def _training_charts(facts: Facts) -> list[tuple[str, Markup]]:
    """Curves that belong together in one chart."""
    by_title = {curve.title: curve for curve in facts.curves}
    groups = (
        ("Loss", ("loss",)),
        ("Validation", ("validation MAP@R", "validation P@1")),
        ("Distances on the validation part", ("validation d_ap", "validation d_an")),
        ("Active triplets", ("active",)),
    )
    kinds = ("candidate", "third")
    charts = []
    for title, names in groups:
        lines = [
            Line(name, by_title[name].steps, by_title[name].values, kind, dots=True)
            for name, kind in zip(names, kinds, strict=False)
            if name in by_title
        ]
        if lines:
            charts.append((title, line_chart(lines, title=title, x_label="validation number")))
    return charts
