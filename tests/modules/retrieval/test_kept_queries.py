"""What is kept of the queries: right neighbours, a bounded sample that no batching changes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from modules.retrieval import kept_queries, read_kept_queries, score_names
from modules.retrieval.kept_queries import Kept
from modules.retrieval.transforms import ScoreQueries
from tests.modules.retrieval.test_transforms import KS, in_batches, make_rows, run
from tests.retrieval_oracle import Rows, brute_force, neighbours_in

K = 4


def only_candidate(batches):
    """The two models as TFMA names them."""
    for batch in batches:
        batch.embeddings["candidate"] = batch.embeddings.pop("x")
        batch.embeddings["baseline"] = batch.embeddings.pop("y")
    return batches


def keep(path, queries: Rows, cuts, gallery: Rows | None = None):
    run(
        lambda pcollection: ScoreQueries(
            KS, pcollection, kept=Kept(str(path), K), query_rows=7, shard_rows=9
        ),
        only_candidate(in_batches(queries, cuts)),
        gallery and only_candidate(in_batches(gallery, [3])),
        lambda blocks: None,
    )
    return read_kept_queries(str(path))


@pytest.mark.parametrize("two_sets", [False, True])
def test_neighbours_and_scores_equal_the_brute_force(tmp_path, two_sets: bool) -> None:
    queries = make_rows(0, 40)
    gallery = make_rows(1, 3, labels=b"cdefghi") if two_sets else queries
    found = keep(tmp_path / "q.parquet", queries, [11, 30], gallery if two_sets else None)
    assert sorted(found.ids) == sorted(queries.ids)
    scores = brute_force(*queries, KS, gallery)
    of_baseline = brute_force(
        *queries._replace(embeddings=queries.embeddings[:, :1]), KS,
        gallery._replace(embeddings=gallery.embeddings[:, :1]),
    )  # fmt: skip
    for number, query in enumerate(found.ids):
        row = queries.ids.index(query)
        assert found.labels[number] == queries.labels[row]
        np.testing.assert_array_equal(found.embeddings[number], queries.embeddings[row])
        nearest = neighbours_in(gallery, query, queries.embeddings[row])[:K]
        missing = K - len(nearest)
        expected = [gallery.ids[i] for i in nearest] + [None] * missing
        assert found.neighbours[number].tolist() == expected
        squared = ((gallery.embeddings[nearest] - queries.embeddings[row]) ** 2).sum(axis=1)
        np.testing.assert_array_equal(found.distances[number], [*squared, *[np.nan] * missing])
        hits = [gallery.labels[i] == queries.labels[row] for i in nearest] + [False] * missing
        assert found.hits[number].tolist() == hits
        for model, by_query in (("candidate", scores), ("baseline", of_baseline)):
            wanted = by_query[query] or dict.fromkeys(score_names(KS), np.nan)
            kept = {name: float(found.scores[model][name][number]) for name in wanted}
            assert kept == pytest.approx(wanted, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [20]])
def test_the_sample_depends_on_the_ids_alone(tmp_path, monkeypatch, cuts) -> None:
    monkeypatch.setattr(kept_queries, "MOST_QUERIES", 10)
    queries = make_rows(0, 40)
    found = keep(tmp_path / "q.parquet", queries, cuts)
    hashes = {one: hashlib.blake2b(one, digest_size=8).digest() for one in queries.ids}
    assert found.ids.tolist() == sorted(queries.ids, key=hashes.get)[:10]
