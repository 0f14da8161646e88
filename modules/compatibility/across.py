"""The new model's queries in the old model's gallery: scores, and which queries flip.

Both models have scored the same queries in their own galleries already. Here each query searches
once more: as it is in the vectors of the old model (`keep`), and mapped into their space (`map`).
`re_embed` is the new model in its own gallery.

With p the P@1 of a query by the old model and q by the new way, max(p − q, 0) is its negative flip
and max(q − p, 0) its positive one; of ties each is a mean, as P@1 is. So the change of P@1 is
positive less negative flips, and a model that is compared with itself flips nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from modules.compatibility.procrustes import learn_map, map_bytes
from modules.compatibility.report import MAP_FILE, Way
from modules.retrieval import (
    LabelledRows,
    ScoredQueries,
    ScoreQueries,
    embedded_rows,
    score_names,
)
from modules.settings import Verdict
from modules.storage import read_text, write_file

_FILE = "across.json"
_OLD, _NEW = "old", "new"  # each in its own gallery
_SCORES = ("precision@1", "map@r")
_WAYS: dict[str, Verdict] = {"keep": "keep", "map": "map", _NEW: "re_embed"}
_OWN = "own scores"

# Scored queries, and by way the sums of P@1, MAP@R, negative and positive flips.
_Sums = tuple[int, dict[str, np.ndarray]]


class ScoreAcross(beam.PTransform):
    """{"scored": ScoredQueries, "gallery": LabelledRows} → the path of the file that it writes.

    Args:
        old: TFMA's name of the last blessed model.
        new: Of the candidate.
        ks: Of the scores that there are.
        folder: Where the figures and the map go; `read_across` reads them.
        crosses: Whether the embeddings of both models have one dimension; else nothing can be
            searched across.
        paired: Makes extracts of the images that the map is learnt from; None: there are none.
        exclude_same: As for `ScoreQueries`.
        embeddings: Where embeddings are stored, as for `ScoreQueries`.
    """

    def __init__(
        self,
        old: str,
        new: str,
        ks: Sequence[int],
        folder: str,
        *,
        crosses: bool = True,
        paired: beam.PTransform | None = None,
        exclude_same: Sequence[str] = (),
        embeddings: str | None = None,
    ) -> None:
        super().__init__()
        self._old, self._new, self._ks, self._folder = old, new, list(ks), folder
        self._paired = paired if crosses else None
        self._exclude_same, self._embeddings = list(exclude_same), embeddings
        self._searched = {"keep": new} if crosses else {}
        if 1 not in self._ks:  # nothing knows the P@1 of each model
            self._searched |= {_OLD: old, _NEW: new}

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        """Scores, adds up and writes."""
        scored, gallery = inputs["scored"], inputs["gallery"]
        found: beam.pvalue.AsSingleton | None = None
        if self._paired is not None:
            rows = scored.pipeline | "Paired" >> self._paired
            found = beam.pvalue.AsSingleton(
                rows
                | "PairedRows" >> beam.Map(embedded_rows)
                | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
                | "LearnMap" >> beam.Map(_learn, self._old, self._new, self._folder)
            )
        named = self._old, self._new
        features = tuple(self._exclude_same)
        queries = scored | "Queries" >> beam.Map(
            _queries, *named, self._ks, self._searched, features, found
        )
        if self._searched:
            old = dict.fromkeys((*self._searched, *([] if found is None else ["map"])), self._old)
            if _NEW in old:
                old[_NEW] = self._new
            queries = queries | "Search" >> ScoreQueries(
                [1],
                gallery | "OldGallery" >> beam.Map(_searched_as, old, features),
                exclude_same=features,
                folder=self._embeddings,
            )
        else:
            queries = queries | "AsTheyAre" >> beam.Map(ScoredQueries, {})
        return (
            queries
            | "Sums" >> beam.Map(_sums)
            | "All" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Write" >> beam.Map(_write, found, self._folder)
        )


def _queries(
    scored: ScoredQueries,
    old: str,
    new: str,
    ks: Sequence[int],
    searched: Mapping[str, str],
    features: Sequence[str],
    found: tuple[int, np.ndarray] | None,
) -> LabelledRows:
    """The queries by the ways they search, with the scores that there are."""
    rows = _searched_as(scored.queries, searched, features)
    if found is not None:
        rows.embeddings["map"] = scored.queries.embeddings[new] @ found[1]
    if 1 in ks:
        columns = [score_names(ks).index(name) for name in _SCORES]
        own = [scored.by_model[model].scores[:, columns] for model in (old, new)]
        rows.features[_OWN] = np.stack(own, axis=1)
    return rows


def _searched_as(
    rows: LabelledRows, models: Mapping[str, str], features: Sequence[str]
) -> LabelledRows:
    """The same rows with the embeddings of other models, by way."""
    return LabelledRows(
        rows.ids,
        rows.labels,
        {way: rows.embeddings[model] for way, model in models.items()},
        {name: rows.features[name] for name in features},
    )


def _learn(batches: list[LabelledRows], old: str, new: str, folder: str) -> tuple[int, np.ndarray]:
    """How many images there are, and the map, which is written too; as of nothing, it is one."""
    # In an order of their own: sums must not depend on the order of arrival.
    order = np.argsort(np.concatenate([rows.ids for rows in batches]), kind="stable")
    of_new, of_old = (
        np.concatenate([rows.embeddings[model] for rows in batches])[order] for model in (new, old)
    )
    found = learn_map(of_new, of_old)
    if found is None:
        found = np.eye(of_new.shape[1], dtype=np.float32)
    write_file(f"{folder}/{MAP_FILE}", map_bytes(found))
    return len(order), found


def _sums(scored: ScoredQueries) -> _Sums:
    """Of a block."""
    by_way = {way: of_way.scores[:, _columns()] for way, of_way in scored.by_model.items()}
    if _OWN in scored.queries.features:
        own = scored.queries.features[_OWN]
        by_way |= {_OLD: own[:, 0], _NEW: own[:, 1]}
    counted = ~np.isnan(by_way[_OLD][:, 0])
    before = by_way[_OLD][counted, 0]
    found = {}
    for way, scores in by_way.items():
        scores = scores[counted]
        change = scores[:, 0] - before
        flips = np.stack([np.maximum(-change, 0), np.maximum(change, 0)], axis=1)
        found[way] = np.concatenate([scores, flips], axis=1).sum(axis=0)
    return int(counted.sum()), found


def _columns() -> list[int]:
    return [score_names([1]).index(name) for name in _SCORES]


def _write(parts: list[_Sums], found: tuple[int, np.ndarray] | None, folder: str) -> str:
    queries = sum(count for count, _ in parts)
    ways = {
        # The exact sum does not depend on the order of the blocks.
        way: [math.fsum(sums[way][i] for _, sums in parts) / max(queries, 1) for i in range(4)]
        for way in parts[0][1]
    }
    content = {"queries": queries, "map_images": found[0] if found else 0, "ways": ways}
    path = f"{folder}/{_FILE}"
    write_file(path, json.dumps(content).encode())
    return path


class Across:
    """What `ScoreAcross` found.

    Attributes:
        queries: Those with a score.
        map_images: What the map was learnt from; 0 without a map.
        own: The old model in its own gallery.
        ways: By verdict; `re_embed` is always there.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.queries: int = content["queries"]
        self.map_images: int = content["map_images"]
        self.own = _way(content["ways"][_OLD])
        self.ways = {
            verdict: _way(content["ways"][way])
            for way, verdict in _WAYS.items()
            if way in content["ways"]
        }


def _way(values: Iterable[float]) -> Way:
    names = ("precision_at_1", "map_at_r", "negative_flips", "positive_flips")
    return Way(**dict(zip(names, values, strict=True)))


def read_across(folder: str) -> Across:
    """Reads what `ScoreAcross` wrote into a folder."""
    return Across(json.loads(read_text(f"{folder}/{_FILE}")))
