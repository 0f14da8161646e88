"""What the script of a report reads: images, queries with their neighbours, lists and the map."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modules.report.choosing import Chosen, scored
from modules.report.embedding_map import LEAST, draw_map
from modules.report.pictures import fit_pictures
from modules.retrieval import KeptQueries
from modules.runtime import best_effort, shown

_ID_LETTERS = 80
_MAP_UNITS = 4000  # the map has so many places in each direction
RIGHT, WRONG, NOTHING_TO_FIND = 1, 0, 2


def page_data(
    queries: KeptQueries,
    chosen: Chosen,
    labels: Mapping[bytes, bytes],
    pictures: Mapping[bytes, bytes],
) -> dict[str, Any]:
    """Puts it all into plain values.

    Args:
        queries: The kept queries.
        chosen: Which of them to show.
        labels: Of queries and neighbours, by id.
        pictures: WebP files by id; too large ones are made smaller.

    Returns:
        `labels`: names. `images`: columns `id`, `label` (number) and `picture` (base64). `queries`:
        columns `image` (number), `near` (numbers of images, −1 for one that the page does not
        have), `far` (thousandths of a squared distance, null for none), `hits` (bits, the nearest
        last) and `state`. `lists`: numbers of queries. `map`: columns `x`, `y`, `query`; null
        without one.
    """
    names = sorted({labels[one] for one in chosen.ids if one in labels} | set(queries.labels))
    number_of = {name: number for number, name in enumerate(names)}
    image_of = {one: number for number, one in enumerate(chosen.ids)}
    small = fit_pictures({one: pictures[one] for one in chosen.ids if one in pictures})
    rows = [row for row in range(len(queries.ids)) if queries.ids[row] in image_of]
    query_of = {row: number for number, row in enumerate(rows)}
    # A map needs no picture of each point.
    mapped = [row for row in chosen.mapped.tolist() if row in query_of]
    states = np.where(queries.hits[:, 0], RIGHT, WRONG)
    states[~scored(queries)] = NOTHING_TO_FIND
    return {
        "labels": [shown(name) for name in names],
        "images": {
            "id": [shown(one, _ID_LETTERS) for one in chosen.ids],
            "label": [number_of.get(labels.get(one, b""), -1) for one in chosen.ids],
            "picture": [base64.b64encode(small.get(one, b"")).decode() for one in chosen.ids],
        },
        "queries": {
            "image": [image_of[queries.ids[row]] for row in rows],
            "near": [_near(queries.neighbours[row], image_of) for row in rows],
            "far": [_far(queries.distances[row]) for row in rows],
            "hits": [_bits(queries.hits[row]) for row in rows],
            "state": states[rows].tolist(),
        },
        "lists": {
            "worst": _numbers(chosen.worst, query_of),
            "random": _numbers(chosen.random, query_of),
            "classes": _numbers(chosen.classes, query_of),
        },
        "map": _map(queries, mapped, query_of),
    }


def _numbers(rows: np.ndarray, query_of: Mapping[int, int]) -> list[int]:
    return [query_of[row] for row in rows.tolist() if row in query_of]


def _near(ids: np.ndarray, image_of: Mapping[bytes, int]) -> list[int]:
    return [image_of.get(one, -1) for one in ids if one is not None]


def _far(distances: np.ndarray) -> list[int | None]:
    return [round(1000 * one) if math.isfinite(one) else None for one in distances.tolist()]


def _bits(hits: np.ndarray) -> int:
    return sum(1 << place for place, hit in enumerate(hits.tolist()) if hit)


def _map(
    queries: KeptQueries, rows: Sequence[int], query_of: Mapping[int, int]
) -> dict[str, list[int]] | None:
    if len(rows) < LEAST:
        return None
    with best_effort("the map of the report"):
        points = np.rint(draw_map(queries.embeddings[list(rows)]) * _MAP_UNITS).astype(int)
        return {
            "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(),
            "query": [query_of[row] for row in rows],
        }
    return None
