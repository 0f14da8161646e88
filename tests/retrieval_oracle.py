"""The definitions of the retrieval metrics as plain loops over one query after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """Labelled embeddings as plain lists."""

    ids: Sequence
    labels: Sequence
    embeddings: Sequence[Sequence[float]]


Columns = Sequence[Sequence[object]]  # values of rows, such as their cameras, by column


def is_junk(label: object, of_query: Sequence, other_label: object, of_other: Sequence) -> bool:
    """Whether a row is no neighbour, since it has the query's label and one of its values."""
    same = any(
        mine == theirs and mine not in (b"", "")
        for mine, theirs in zip(of_query, of_other, strict=True)
    )
    return same and label == other_label


def squared_distance(a: Sequence[float], b: Sequence[float]) -> float:
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


def neighbours(ids: Sequence, embeddings: Sequence[Sequence[float]], query: int) -> list[int]:
    """Every other row, by (squared distance, id), NaN last."""
    return neighbours_in(Rows(ids, None, embeddings), ids[query], embeddings[query])


def neighbours_in(gallery: Rows, query_id: object, embedding: Sequence[float]) -> list[int]:
    """Rows of the gallery without the query, by (squared distance, id), NaN last."""

    def rank(row: int) -> tuple:
        distance = squared_distance(embedding, gallery.embeddings[row])
        return math.isnan(distance), 0 if math.isnan(distance) else distance, gallery.ids[row]

    return sorted((r for r in range(len(gallery.ids)) if gallery.ids[r] != query_id), key=rank)


def brute_force(
    ids: Sequence,
    labels: Sequence,
    embeddings: Sequence[Sequence[float]],
    ks: Sequence[int],
    gallery: Rows | None = None,
    columns: Columns = (),
    gallery_columns: Columns | None = None,
) -> dict[object, dict[str, float] | None]:
    """Scores of each query by id; None where no neighbour has the query's label."""
    gallery = gallery or Rows(ids, labels, embeddings)
    gallery_columns = columns if gallery_columns is None else gallery_columns
    scores = {}
    for i, (query_id, label, embedding) in enumerate(zip(ids, labels, embeddings, strict=True)):
        rows = [
            row
            for row in neighbours_in(gallery, query_id, embedding)
            if not is_junk(
                label,
                [column[i] for column in columns],
                gallery.labels[row],
                [column[row] for column in gallery_columns],
            )
        ]
        hits = [gallery.labels[row] == label for row in rows]
        relevant = sum(hits)
        if not relevant:
            scores[query_id] = None
            continue
        row = {}
        for k in ks:
            row[f"precision@{k}"] = sum(hits[:k]) / k
            row[f"precision_capped@{k}"] = sum(hits[:k]) / min(k, relevant)
            row[f"recall@{k}"] = float(any(hits[:k]))
            row[f"ndcg@{k}"] = gain(hits[:k]) / gain([True] * min(k, relevant))
        row["r_precision"] = sum(hits[:relevant]) / relevant
        row["map@r"] = (
            sum(sum(hits[:i]) / i for i in range(1, relevant + 1) if hits[i - 1]) / relevant
        )
        row["mrr"] = 1 / (hits.index(True) + 1)
        apart = [squared_distance(embedding, gallery.embeddings[r]) for r in rows]
        same = [distance for distance, hit in zip(apart, hits, strict=True) if hit]
        other = [distance for distance, hit in zip(apart, hits, strict=True) if not hit]
        row["d_ap"] = sum(same) / len(same)
        row["d_an"] = sum(other) / len(other) if other else math.nan
        scores[query_id] = row
    return scores


def with_distractors(gallery: Rows, distractors: Rows) -> Rows:
    """Both as one gallery. Each distractor has a label of its own, which no query has."""
    return Rows(
        [*gallery.ids, *distractors.ids],
        [*gallery.labels, *(object() for _ in distractors.ids)],
        [*gallery.embeddings, *distractors.embeddings],
    )


def gain(hits: Sequence[bool]) -> float:
    """Discounted cumulative gain with binary relevance."""
    return sum(hit / math.log2(i + 1) for i, hit in enumerate(hits, start=1))


def mean_scores(scores: dict[object, dict[str, float] | None]) -> dict[str, float]:
    """Means over the queries that have scores."""
    rows = [row for row in scores.values() if row is not None]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def set_metrics(embeddings: Sequence[Sequence[float]]) -> dict[str, float]:
    """Metrics of queries that are the gallery, too, without verification and clustering."""
    rows = np.asarray(embeddings, np.float64)
    spread = sum(squared_distance(row, rows.mean(axis=0)) for row in rows) / len(rows)
    return {
        "spread": spread,
        "collapsed": float(spread < 5e-4),
        "non_finite_gallery": 0.0,
        "gallery_size": float(len(rows)),
    }


def pairs(
    queries: Rows, gallery: Rows, columns: Columns = (), gallery_columns: Columns = ()
) -> tuple[list[float], list[bool]]:
    """Every query with each of its neighbours: squared distance, same label."""
    found = list(labelled_pairs(queries, gallery, columns, gallery_columns))
    return [pair[3] for pair in found], [pair[1] == pair[2] for pair in found]


def labelled_pairs(
    queries: Rows, gallery: Rows, columns: Columns = (), gallery_columns: Columns = ()
) -> Iterator[tuple[bytes, bytes, bytes, float]]:
    """Every query with each of its neighbours: its id, both labels, squared distance."""
    for i, (query_id, label, embedding) in enumerate(zip(*queries, strict=True)):
        mine = [column[i] for column in columns]
        for j, (row_id, row_label, row) in enumerate(zip(*gallery, strict=True)):
            theirs = [column[j] for column in gallery_columns]
            if row_id != query_id and not is_junk(label, mine, row_label, theirs):
                yield query_id, label, row_label, squared_distance(embedding, row)


def verification(same: Sequence[float], different: Sequence[float]) -> dict[str, float]:
    """Every pair of pairs, every threshold; squared distances of pairs of one class, and of two."""
    wins = sum((s < d) + (s == d) / 2 for s, d in itertools.product(same, different))
    thresholds = sorted({*same, *different})
    points = [(0.0, 0.0)]
    for threshold in thresholds:
        points.append(
            (
                sum(d <= threshold for d in different) / len(different),
                sum(s <= threshold for s in same) / len(same),
            )
        )
    expected = {"roc_auc": wins / (len(same) * len(different))}
    for rate in (0.1, 0.01, 0.001):
        expected[f"tar@far={rate}"] = max(tar for far, tar in points if far <= rate)
    for threshold, ((far0, tar0), (far1, tar1)) in zip(
        thresholds, itertools.pairwise(points), strict=True
    ):
        if far1 >= 1 - tar1:
            # far0 + u·(far1 − far0) = 1 − tar0 − u·(tar1 − tar0)
            u = (1 - tar0 - far0) / (far1 - far0 + tar1 - tar0)
            expected["eer"] = far0 + u * (far1 - far0)
            expected["eer_threshold"] = threshold
            break
    return expected
