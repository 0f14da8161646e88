"""What a report is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modules.gate import EvaluationReport
from modules.report.curves import Curve
from modules.retrieval import KeptQueries
from modules.settings import EvaluationSettings


class Source(NamedTuple):
    """An artifact that the run was made from: what it is, what is known of it, where it lies."""

    what: str
    facts: str
    uri: str


@dataclasses.dataclass(frozen=True)
class Facts:
    """All that is known when the report is written; what is not there is left out of the page.

    Attributes:
        pipeline: Its name.
        written: When, in local time; empty to leave it out.
        evaluation: Metrics, intervals, failures.
        thresholds: `[evaluation]`, with the thresholds.
        blessed: The verdict; None if there was none.
        reason: Its words.
        queries: The kept ones; None if there are none.
        pictures: Small WebP files by id.
        labels: Of queries and neighbours, by id.
        map_images: The most points of the map.
        curves: Of the training.
        training: What became of it, `training.json`.
        choices: What the Trainer chose, `choices.json`.
        counts: Name and number of the data.
        found: Contents of further JSON files by title: audit, compatibility, churn.
        settings: Tables of the configuration by name.
        versions: By name of the package.
        sources: What it was made from.
        seconds: By node, as far as known; NaN for one from the cache.
    """

    pipeline: str
    evaluation: EvaluationReport
    thresholds: EvaluationSettings
    blessed: bool | None
    reason: str
    written: str = ""
    queries: KeptQueries | None = None
    pictures: Mapping[bytes, bytes] = dataclasses.field(default_factory=dict)
    labels: Mapping[bytes, bytes] = dataclasses.field(default_factory=dict)
    map_images: int = 0
    curves: Sequence[Curve] = ()
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    choices: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    counts: Sequence[tuple[str, int]] = ()
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    sources: Sequence[Source] = ()
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def with_images(self, labels: Mapping[bytes, bytes], pictures: Mapping[bytes, bytes]) -> Facts:
        """The same with images."""
        return dataclasses.replace(self, labels=labels, pictures=pictures)
