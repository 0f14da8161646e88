"""New queries beside those of the reference: against plain loops, and on data that is the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from components.training_decision.comparing import SCORES, compare
from modules.retrieval import Gallery, make_gallery
from modules.retrieval.class_bootstrap import change_intervals
from tests.retrieval_oracle import Rows, brute_force


@st.composite
def galleries(draw, prefix: str) -> Gallery:
    n = draw(st.integers(1, 14))
    labels = draw(st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=n, max_size=n))
    # Small whole numbers: float32 arithmetic is exact, ties and identical rows are many.
    row = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    embeddings = draw(st.lists(row, min_size=n, max_size=n))
    ids = [f"{prefix}{i:02d}".encode() for i in draw(st.permutations(range(n)))]
    return make_gallery(ids, labels, np.array(embeddings, np.float32))


def score(query_id, label, embedding, gallery: Gallery) -> list[float] | None:
    """The two scores of one query; None if it has no positive."""
    rows = Rows(gallery.ids, gallery.labels, gallery.embeddings)
    found = brute_force([query_id], [label], [embedding], [1], gallery=rows)[query_id]
    return None if found is None else [found[name] for name in SCORES]


def plain(reference: Gallery, new: Gallery, searched: Gallery | None):
    """By class the mean scores of the reference and all scores of new queries."""
    gallery = searched or reference
    before: dict[bytes, list] = {}
    for query in zip(reference.ids, reference.labels, reference.embeddings, strict=True):
        if (found := score(*query, gallery)) is not None:
            before.setdefault(query[1], []).append(found)
    now: dict[bytes, list] = {}
    turn: dict[bytes, int] = {}
    for id_, label, embedding in zip(new.ids, new.labels, new.embeddings, strict=True):
        members = [i for i, of in zip(reference.ids, reference.labels, strict=True) if of == label]
        if searched is None and members and id_ not in reference.ids:
            place = turn.get(label, 0)
            turn[label] = place + 1
            id_ = members[place % len(members)]
        if (found := score(id_, label, embedding, gallery)) is not None:
            now.setdefault(label, []).append(found)
    return {c: np.mean(of, axis=0) for c, of in before.items()}, now


@given(
    reference=galleries("r"),
    new=st.one_of(galleries("n"), galleries("r")),  # the same ids: images that came once more
    searched=st.one_of(st.none(), galleries("s")),
)
def test_the_changes_are_those_of_plain_loops(reference, new, searched) -> None:
    before, now = plain(reference, new, searched)
    classes = sorted(set(before) & set(now))
    found = compare(reference, new, searched, 0.9)
    assert found.classes == len(classes)
    assert found.queries == sum(len(now[c]) for c in classes)
    if not classes:
        assert found.changes == {}
        return
    differences = {c: np.array(now[c]) - before[c] for c in classes}
    every = np.concatenate([differences[c] for c in classes])
    counts = np.array([len(now[c]) for c in classes])
    ends = change_intervals(counts, np.array([differences[c].sum(axis=0) for c in classes]), 0.9)
    for column, name in enumerate(SCORES):
        change = found.changes[name]
        assert change.change == pytest.approx(every[:, column].mean(), abs=1e-9)
        assert change.now == pytest.approx(np.mean([s[column] for c in classes for s in now[c]]))
        assert [change.lower, change.upper] == pytest.approx(
            ends[:, column].tolist(), abs=1e-9, nan_ok=True
        )


def draw_images(random: np.random.Generator, per_class: int, prefix: str) -> Gallery:
    """Twelve classes around points of a plane that are near enough to be mixed up."""
    centres = np.random.default_rng(7).normal(size=(12, 2))
    labels = np.repeat(np.arange(12), per_class)
    embeddings = centres[labels] + 0.5 * random.normal(size=(len(labels), 2))
    ids = [f"{prefix}{n:04d}" for n in random.permutation(len(labels))]
    return make_gallery(ids, labels.astype(str), embeddings)


def test_images_like_the_old_ones_change_nothing_though_classes_are_tiny() -> None:
    """With two images a class, a query that sees both has twice the positives of an old one."""
    random = np.random.default_rng(0)
    changes, naive = [], []
    for _ in range(60):
        reference, new = draw_images(random, 2, "old"), draw_images(random, 2, "new")
        found = compare(reference, new, None, 0.95).changes
        changes.append([change.change for change in found.values()])
        # The old images are no queries here, so all of them are searched.
        seen = compare(new, new, reference, 0.95).changes
        naive.append(seen["precision@1"].now - found["precision@1"].before)

    def errors_above_0(values) -> np.ndarray:
        return np.mean(values, axis=0) / (np.std(values, axis=0) / np.sqrt(len(values)))

    assert (np.abs(errors_above_0(changes)) < 2.5).all()
    assert errors_above_0(naive) > 5  # what the stand-ins are there for


def test_neighbours_of_the_same_camera_do_not_count() -> None:
    """x1 stands in for the first image of `a`, is next to the second, and is of its camera."""

    def gallery(prefix: str, values: list[float], cameras: list[str], label: str) -> Gallery:
        ids = [f"{prefix}{n}" for n in range(len(values))]
        return make_gallery(ids, [label] * len(ids), np.array(values)[:, None], [cameras])

    def joined(*parts: Gallery) -> Gallery:
        columns = [np.concatenate([part.columns[0] for part in parts])]
        arrays = (np.concatenate(c) for c in zip(*(p[:2] for p in parts), strict=True))
        return make_gallery(*arrays, np.concatenate([p.embeddings for p in parts]), columns)

    reference = joined(
        gallery("a", [0.0, 1.0, 5.0], ["1", "2", "3"], "a"),
        gallery("b", [2.0, 2.5, 9.0], ["1", "2", "3"], "b"),
    )
    new = gallery("x", [1.1], ["2"], "a")
    found = compare(reference, new, None, 0.95)
    # Left are a2 at 3.9 and the images of b, of which b0 at 0.9 is the nearest.
    assert found.changes["precision@1"].now == 0
    elsewhere = new._replace(columns=(np.array(["4"], object),))
    assert compare(reference, elsewhere, None, 0.95).changes["precision@1"].now == 1
