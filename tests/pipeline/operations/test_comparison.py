"""What the summary says of old vectors and of logged queries."""

from __future__ import annotations

import math
import re

from rich.console import Console

from modules.compatibility import ChurnReport, CompatibilityReport, Way
from pipeline.metadata import Evaluation
from pipeline.operations.comparison import comparison_table, describe_comparison


def way(*figures: float) -> Way:
    names = ("precision_at_1", "map_at_r", "negative_flips", "positive_flips")
    return Way(**dict(zip(names, figures, strict=True)))


REPORT = CompatibilityReport(
    verdict="map",
    why="mapped queries find what they should",
    queries=8,
    own=way(0.75, 0.5, 0.0, 0.0),
    ways={"keep": way(0.25, 0.125, 0.5, 0.0), "re_embed": way(0.875, 0.75, 0.125, 0.25)},
    dimensions=[4, 4],
    map_images=16,
    baseline="a",
    candidate="b",
)
CHURN = ChurnReport(
    queries=8, unusable=2, k=5, changed=0.25, overlap=0.5, outside_before=0.125, outside=0.375,
    limit_before=0.1, limit=0.2,
)  # fmt: skip


def say(**found) -> list[str]:
    return list(describe_comparison(Evaluation({}, True, [], **found)))


def test_the_sentences() -> None:
    assert say() == []
    assert say(compatibility=REPORT, churn=CHURN) == [
        "Compatibility: map queries into an index of the old vectors, or re-embed it: mapped "
        "queries find what they should.",
        "Churn: of 8 logged queries (2 more cannot be used) 25.00% have another first result, "
        "overlap@5 is 0.5000, and 37.50% are outside of the gallery (before 12.50%).",
    ]
    nothing = {"queries": 0, "changed": math.nan}
    assert say(churn=CHURN.model_copy(update=nothing)) == [
        "Churn: there are no logged queries that can be used (2 cannot)."
    ]


def test_the_table() -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(comparison_table(REPORT))
    text = re.sub(r"[ │]+", " ", captured.get())
    assert " old queries, old vectors 0.7500 0.5000 0.0000 0.0000 " in text
    assert " new queries, old vectors 0.2500 0.1250 0.5000 0.0000 " in text
    assert " new queries, new vectors 0.8750 0.7500 0.1250 0.2500 " in text
    assert "mapped" not in text  # there is no map
