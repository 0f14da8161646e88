"""Metrics of the evaluated set as a whole: spread, collapse, verification, clustering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import apache_beam as beam
import numpy as np

from modules.retrieval.accept_counts import AcceptTables
from modules.retrieval.definitions import COLLAPSED_SPREAD
from modules.retrieval.order import hash_id
from modules.retrieval.pair_bootstrap import operating_metrics
from modules.retrieval.rows import LabelledRows
from modules.retrieval.transforms import ScoredQueries
from modules.retrieval.verification import new_histogram, verification_metrics


@dataclass(frozen=True)
class SetMetrics:
    """What there is to say about all queries together.

    Attributes:
        queries: Their number.
        by_model: Metric by name by model name, the names as `set_names` gives them, and
            `OPERATING_SET_NAMES` where an operating point was asked for.
    """

    queries: int
    by_model: dict[str, dict[str, float]]


# Hash, id, label and embedding by model of one query.
_Sampled = tuple[int, bytes | str, bytes | str, dict[str, np.ndarray]]


@dataclass
class _Model:
    """Sums over the queries of one model."""

    total: np.ndarray | float = 0.0
    squares: float = 0.0
    pairs: np.ndarray | AcceptTables | None = None


@dataclass
class _Sums:
    queries: int = 0
    models: dict[str, _Model] = field(default_factory=dict)
    sample: list[_Sampled] = field(default_factory=list)


class MeasureSet(beam.PTransform):
    """PCollection of ScoredQueries → PCollection with one SetMetrics.

    Clustering takes up to `MAX_EXAMPLES` queries, those whose ids have the smallest hashes. So
    memory is bounded and the choice does not depend on the runner.

    Args:
        verification: Add `VERIFICATION_NAMES`; `ScoreQueries` must have counted the pairs. With a
            false accept rate it has counted what `OPERATING_SET_NAMES` need too.
        clustering: Add `CLUSTERING_NAMES`.
        gallery: PCollection of LabelledRows. Default: the queries are the gallery.
    """

    def __init__(
        self,
        *,
        verification: bool = False,
        clustering: bool = False,
        gallery: beam.PCollection | None = None,
    ) -> None:
        super().__init__()
        self._verification, self._clustering = verification, clustering
        self._gallery = gallery

    def expand(self, scored: beam.PCollection) -> beam.PCollection:
        """Combines all blocks."""
        measured = scored | beam.CombineGlobally(
            _MeasureSetFn(self._verification, self._clustering)
        )
        broken: Counter[str] | beam.pvalue.AsSingleton = Counter()
        rows: int | beam.pvalue.AsSingleton | None = None
        if self._gallery is not None:
            broken = beam.pvalue.AsSingleton(
                self._gallery
                | "NonFinite" >> beam.Map(count_non_finite)
                | "Count" >> beam.CombineGlobally(lambda counts: sum(counts, Counter()))
            )
            rows = beam.pvalue.AsSingleton(
                self._gallery
                | "Rows" >> beam.Map(lambda rows: len(rows.ids))
                | "CountRows" >> beam.CombineGlobally(sum)
            )
        return measured | "AddGallery" >> beam.Map(_with_gallery, broken, rows)


def count_non_finite(rows: LabelledRows) -> Counter[str]:
    """Number of rows whose embedding holds NaN or infinity, by model name."""
    return Counter(
        {
            name: int(np.count_nonzero(~np.isfinite(values).all(axis=1)))
            for name, values in rows.embeddings.items()
        }
    )


def _with_gallery(measured: SetMetrics, broken: Counter[str], rows: int | None) -> SetMetrics:
    size = float(measured.queries if rows is None else rows)
    return SetMetrics(
        measured.queries,
        {
            name: {**metrics, "non_finite_gallery": float(broken[name]), "gallery_size": size}
            for name, metrics in measured.by_model.items()
        },
    )


class _MeasureSetFn(beam.CombineFn):
    """Adds up what the metrics need; small but for the histograms and the clustering sample."""

    def __init__(self, verification: bool, clustering: bool) -> None:
        self._verification = verification
        self._sample = 0
        if clustering:
            from modules.retrieval.clustering import MAX_EXAMPLES

            self._sample = MAX_EXAMPLES

    def create_accumulator(self) -> _Sums:
        return _Sums()

    def add_input(self, sums: _Sums, scored: ScoredQueries) -> _Sums:
        rows = scored.queries
        sums.queries += len(rows.ids)
        for name, values in rows.embeddings.items():
            model = sums.models.setdefault(name, _Model())
            exact = values.astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                model.total = model.total + exact.sum(axis=0)
                model.squares += float((exact**2).sum())
            if self._verification:
                pairs = scored.by_model[name].pairs
                assert pairs is not None  # ScoreQueries has counted them
                model.pairs = pairs if model.pairs is None else model.pairs + pairs
        if self._sample:
            sums.sample += [
                (hash_id(id_), id_, rows.labels[i], {m: e[i] for m, e in rows.embeddings.items()})
                for i, id_ in enumerate(rows.ids)
            ]
            sums.sample = self._smallest(sums.sample)
        return sums

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        merged = _Sums()
        for sums in accumulators:
            merged.queries += sums.queries
            for name, model in sums.models.items():
                into = merged.models.setdefault(name, _Model())
                into.total = into.total + model.total
                into.squares += model.squares
                if model.pairs is not None:
                    into.pairs = model.pairs if into.pairs is None else into.pairs + model.pairs
            merged.sample = self._smallest(merged.sample + sums.sample)
        return merged

    def extract_output(self, sums: _Sums) -> SetMetrics:
        return SetMetrics(
            sums.queries,
            {name: self._measure(sums, name, model) for name, model in sums.models.items()},
        )

    def _measure(self, sums: _Sums, name: str, model: _Model) -> dict[str, float]:
        metrics = spread_metrics(sums.queries, model.total, model.squares)
        if self._verification:
            metrics |= pair_metrics(new_histogram() if model.pairs is None else model.pairs)
        if self._sample:
            from modules.retrieval.clustering import clustering_metrics

            by_id = sorted(self._smallest(sums.sample, 1), key=lambda row: row[1])
            metrics |= clustering_metrics(
                np.stack([embeddings[name] for *_, embeddings in by_id]),
                [label for _, _, label, _ in by_id],
            )
        return metrics

    def _smallest(self, sample: list[_Sampled], slack: int = 2) -> list[_Sampled]:
        """Cuts a sample that has grown beyond `slack` times its size."""
        if len(sample) > slack * self._sample:
            sample = sorted(sample, key=lambda row: row[:2])[: self._sample]
        return sample


def pair_metrics(pairs: np.ndarray | AcceptTables) -> dict[str, float]:
    """Metrics of all pairs: those of verification, and of the operating point if one is asked for.

    Args:
        pairs: A histogram of `modules.retrieval.verification`, or tables of
            `modules.retrieval.accept_counts`.
    """
    if isinstance(pairs, AcceptTables):
        return pairs.grid.verification | operating_metrics(pairs)
    return verification_metrics(pairs)


def spread_metrics(queries: int, total: np.ndarray | float, squares: float) -> dict[str, float]:
    """Computes `spread` and `collapsed` from sums.

    Args:
        queries: How many embeddings.
        total: Σ e, float64 [D].
        squares: Σ ‖e‖².

    Returns:
        `spread`, NaN if an embedding is not finite, and `collapsed`.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        spread = float(squares / queries - np.sum((total / queries) ** 2))
    spread = max(spread, 0.0) if spread == spread else spread  # rounding can fall below 0
    return {"spread": spread, "collapsed": float(spread < COLLAPSED_SPREAD)}
