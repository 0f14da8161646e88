"""The definitions of the retrieval scores as plain loops over one query after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence


def neighbours(ids: Sequence, embeddings: Sequence[Sequence[float]], query: int) -> list[int]:
    """Every other row, by (squared distance, id), NaN last."""

    def rank(row: int) -> tuple:
        distance = sum(
            (float(a) - float(b)) ** 2
            for a, b in zip(embeddings[query], embeddings[row], strict=True)
        )
        return math.isnan(distance), 0 if math.isnan(distance) else distance, ids[row]

    return sorted((row for row in range(len(ids)) if row != query), key=rank)


def brute_force(
    ids: Sequence, labels: Sequence, embeddings: Sequence[Sequence[float]], ks: Sequence[int]
) -> dict[object, dict[str, float] | None]:
    """Scores of each query by id; None where no other example has the query's label."""
    scores = {}
    for query, query_id in enumerate(ids):
        hits = [labels[row] == labels[query] for row in neighbours(ids, embeddings, query)]
        relevant = sum(hits)
        if not relevant:
            scores[query_id] = None
            continue
        row = {}
        for k in ks:
            row[f"precision@{k}"] = sum(hits[:k]) / k
            row[f"precision_capped@{k}"] = sum(hits[:k]) / min(k, relevant)
            row[f"recall@{k}"] = float(any(hits[:k]))
        row["r_precision"] = sum(hits[:relevant]) / relevant
        row["map@r"] = (
            sum(sum(hits[:i]) / i for i in range(1, relevant + 1) if hits[i - 1]) / relevant
        )
        scores[query_id] = row
    return scores


def mean_scores(scores: dict[object, dict[str, float] | None]) -> dict[str, float]:
    """Means over the queries that have scores."""
    rows = [row for row in scores.values() if row is not None]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
