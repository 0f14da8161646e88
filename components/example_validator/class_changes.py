"""How the classes of two spans differ."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

from tensorflow_metadata.proto.v0 import statistics_pb2

from modules.contract import LABEL
from modules.runtime import shown

_NAMED = 20  # classes that are listed
_CHANGED = 5  # classes that are told to have changed most


def find_feature(
    dataset: statistics_pb2.DatasetFeatureStatistics, name: str
) -> statistics_pb2.FeatureNameStatistics | None:
    """Finds the statistics of a feature by its name; None if the examples have no value of it."""
    for feature in dataset.features:
        if feature.path.step[0] == name and common_statistics(feature).num_non_missing:
            return feature
    return None


def common_statistics(
    feature: statistics_pb2.FeatureNameStatistics,
) -> statistics_pb2.CommonStatistics:
    """The counts that all kinds of features have."""
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats if kind else statistics_pb2.CommonStatistics()


@dataclasses.dataclass(frozen=True)
class ClassChanges:
    """The classes of the current and the previous span.

    Attributes:
        current: Number of examples by class.
        previous: The same of the earlier span.
    """

    current: dict[str, float]
    previous: dict[str, float]

    @classmethod
    def of(
        cls,
        current: statistics_pb2.DatasetFeatureStatistics,
        previous: statistics_pb2.DatasetFeatureStatistics,
    ) -> ClassChanges | None:
        """Reads the classes from the statistics; None if these do not list every class.

        TFDV lists the most frequent values only (`StatsOptions.num_rank_histogram_buckets`, 1000),
        and beyond those nobody can tell which class is new.
        """
        now, before = _counts(current), _counts(previous)
        return None if now is None or before is None else cls(now, before)

    @classmethod
    def sum(cls, changes: Iterable[ClassChanges]) -> ClassChanges:
        """The changes of several splits together: a class may have moved from one to another."""
        current: defaultdict[str, float] = defaultdict(float)
        previous: defaultdict[str, float] = defaultdict(float)
        for one in changes:
            for totals, counts in ((current, one.current), (previous, one.previous)):
                for name, count in counts.items():
                    totals[name] += count
        return cls(dict(current), dict(previous))

    @property
    def new(self) -> list[str]:
        """Classes of the current span alone."""
        return sorted(set(self.current) - set(self.previous))

    @property
    def vanished(self) -> list[str]:
        """Classes of the previous span alone."""
        return sorted(set(self.previous) - set(self.current))

    def named(self) -> tuple[list[str], list[str]]:
        """New and vanished classes, cut to a length for a message or a property."""
        return _cut(self.new), _cut(self.vanished)

    def neutral_to_new(self) -> dict[str, float]:
        """The current counts, as if the examples of new classes were spread like the previous span.

        So a new class changes nothing in the comparison, and the fewer examples are left of the
        known ones, the less their shares weigh:  n'_c = n_c + n_new · p_c  with p_c the previous
        share of c. The L-infinity norm becomes max_c |n_c − (n − n_new) · p_c| / n.
        """
        new = sum(self.current[name] for name in self.new)
        total = sum(self.previous.values())
        return {
            name: self.current.get(name, 0.0) + new * count / total
            for name, count in self.previous.items()
        }

    def describe(self) -> str:
        """What changed, in words."""
        now, before = sum(self.current.values()), sum(self.previous.values())
        shares = {
            name: (self.previous[name] / before, self.current.get(name, 0.0) / now)
            for name in self.previous
        }
        order = sorted(shares, key=lambda name: (-abs(shares[name][0] - shares[name][1]), name))
        most = ", ".join(
            f"{shown(name)!r} {shares[name][0]:.1%} → {shares[name][1]:.1%}"
            for name in order[:_CHANGED]
        )
        parts = [f"Changed most: {most}"]
        new, vanished = self.named()
        if new:
            parts.append(f"new: {', '.join(new)}")
        if vanished:
            parts.append(f"vanished: {', '.join(vanished)}")
        return "; ".join(parts) + "."


def replace_counts(
    statistics: statistics_pb2.DatasetFeatureStatisticsList, counts: dict[str, float]
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Returns a copy of the statistics of one data set with other numbers of examples by class."""
    changed = statistics_pb2.DatasetFeatureStatisticsList()
    changed.CopyFrom(statistics)
    feature = find_feature(changed.datasets[0], LABEL)
    if feature is not None:
        ranks = feature.string_stats.rank_histogram
        del ranks.buckets[:]
        for rank, (name, count) in enumerate(sorted(counts.items(), key=lambda item: -item[1])):
            ranks.buckets.add(low_rank=rank, high_rank=rank, label=name, sample_count=count)
    return changed


def _counts(dataset: statistics_pb2.DatasetFeatureStatistics) -> dict[str, float] | None:
    feature = find_feature(dataset, LABEL)
    if feature is None or feature.WhichOneof("stats") != "string_stats":
        return None
    buckets = feature.string_stats.rank_histogram.buckets
    complete = buckets and len(buckets) >= feature.string_stats.unique
    return {bucket.label: bucket.sample_count for bucket in buckets} if complete else None


def _cut(names: list[str]) -> list[str]:
    more = len(names) - _NAMED
    escaped = [shown(name) for name in names[:_NAMED]]
    return escaped if more <= 0 else [*escaped, f"… and {more} more"]
