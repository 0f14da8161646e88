"""How much worse a model is on new images than on those that it was judged by.

Retrieval scores depend on the gallery: on its size and on how many images each class has. So new
images are not scored among themselves. They are queries in the gallery of the *reference*, the eval
images of the spans that the model was trained on, where the queries of the reference have been
scored too. One difference is left: a reference query is never its own neighbour, so it sees one
image of its class less. Each new query stands in for a reference image of its class and does not
see that one. If the new images are like the old ones, the scores of both then have the same
distribution, however few images a class has.

Compared are the classes that both have. With m_c the mean score of class c in the reference, a new
query of c with score s changes by s − m_c, and the change is the mean over the new queries. Images
of one class are hard or easy together, so its interval is found by resampling classes
(`modules.retrieval.class_bootstrap`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modules.retrieval import Gallery, change_intervals, make_gallery, score_against

SCORES = ("precision@1", "map@r")
_KS = (1,)


class Change(NamedTuple):
    """A score of new queries, beside that of the reference.

    Attributes:
        before: Mean over the classes of the reference, weighted as the new queries are.
        now: Mean over the new queries.
        lower, upper: Interval of `now` − `before`; NaN with too few classes (`change_intervals`).
    """

    before: float
    now: float
    lower: float
    upper: float

    @property
    def change(self) -> float:
        """Below 0 if the model is worse on the new images."""
        return self.now - self.before


class Comparison(NamedTuple):
    """The changes by score; how many classes and new queries could be compared."""

    changes: dict[str, Change]
    classes: int
    queries: int


def compare(reference: Gallery, new: Gallery, searched: Gallery | None, level: float) -> Comparison:
    """Compares new queries with those of the reference, all embedded by one model.

    Args:
        reference: The queries of the reference, and what is searched.
        new: The new queries; see `make_gallery`.
        searched: Another gallery to search in, which holds none of the queries; default: the
            reference.
        level: Of the intervals, above 0 and below 1.

    Returns:
        For each of `SCORES` its change; no changes if no class can be compared.
    """
    gallery = reference if searched is None else searched
    known = np.isin(reference.labels, np.unique(new.labels))
    if not known.any():
        return Comparison({}, 0, 0)
    before = score_against(_rows(reference, known), gallery, _KS)
    queries = new if searched is not None else new._replace(ids=_stand_ins(new, reference))
    now = score_against(queries, gallery, _KS)
    old, fresh = (np.stack([scores[name] for name in SCORES], axis=1) for scores in (before, now))
    scored = ~np.isnan(old[:, 0]), ~np.isnan(fresh[:, 0])
    old_labels, new_labels = reference.labels[known][scored[0]], new.labels[scored[1]]
    old, fresh = old[scored[0]], fresh[scored[1]]
    classes = sorted(set(old_labels) & set(new_labels))
    if not classes:
        return Comparison({}, 0, 0)
    means = np.stack([old[old_labels == label].mean(axis=0) for label in classes])
    counts = np.array([np.count_nonzero(new_labels == label) for label in classes])
    totals = np.stack([fresh[new_labels == label].sum(axis=0) for label in classes])
    sums = totals - counts[:, None] * means
    lower, upper = change_intervals(counts, sums, level)
    queried = int(counts.sum())
    expected, found = counts @ means / queried, totals.sum(axis=0) / queried
    changes = map(Change, *(values.tolist() for values in (expected, found, lower, upper)))
    return Comparison(dict(zip(SCORES, changes, strict=True)), len(classes), queried)


def _stand_ins(new: Gallery, reference: Gallery) -> np.ndarray:
    """The id of a reference image for each new one: of its class, one after the other.

    An image that is in the reference itself keeps its id, and so does one of an unknown class.
    """
    ids = new.ids.copy()
    own = np.isin(new.ids, reference.ids)
    for label in np.unique(new.labels):
        rows = np.flatnonzero((new.labels == label) & ~own)
        members = reference.ids[reference.labels == label]
        if len(members):
            ids[rows] = members[np.arange(len(rows)) % len(members)]
    return ids


def _rows(gallery: Gallery, chosen: np.ndarray) -> Gallery:
    return make_gallery(
        gallery.ids[chosen],
        gallery.labels[chosen],
        gallery.embeddings[chosen],
        [column[chosen] for column in gallery.columns],
    )
