"""Small sets of queries and galleries with groups, and as the search takes them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from modules.retrieval import make_gallery
from modules.retrieval.groups import gallery_groups, group_keys, number_groups, query_groups
from modules.retrieval.scores import QueryBlock
from modules.retrieval.shards import Shard
from tests.retrieval_oracle import Rows


@st.composite
def sets(draw):
    """Queries and gallery that share ids, labels and values; columns of bytes and of integers."""
    columns = draw(st.integers(1, 3))
    found = []
    for labels in (b"abc", b"bcd"):
        n = draw(st.integers(1, 16))
        ids = [b"%02d" % i for i in draw(st.permutations(range(20)))[:n]]
        names = draw(st.lists(st.sampled_from(list(labels)), min_size=n, max_size=n))
        values = [
            draw(st.lists(st.sampled_from(of), min_size=n, max_size=n))
            for of in ([b"", b"1", b"2"], [0, 1], [b"x", b"y", b"z"])[:columns]
        ]
        row = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
        embeddings = draw(st.lists(row, min_size=n, max_size=n))
        rows = Rows(ids, [bytes([name]) for name in names], np.array(embeddings, np.float32))
        found.append((rows, values))
    return found


def make_block(
    queries: Rows, columns, gallery: Rows, gallery_columns, size: int
) -> tuple[QueryBlock, list[Shard]]:
    """The queries, and the gallery cut into shards of `size` rows."""
    made = make_gallery(*gallery, gallery_columns)
    numbers = number_groups(group_keys(made.labels, column) for column in made.columns)
    groups = gallery_groups(made.labels, made.columns, numbers)
    classes = {label: int(made.classes[i]) for i, label in enumerate(made.labels)}
    shards = [
        Shard(a, made.ids[a:b], made.classes[a:b], {"": made.embeddings[a:b]}, groups[a:b])
        for a in range(0, len(made.ids), size)
        for b in [a + size]
    ]
    labels = np.array(queries.labels, object)
    block = QueryBlock(
        ids=np.array(queries.ids, object),
        classes=np.array([classes.get(label, -1) for label in queries.labels], np.int32),
        members=np.array([gallery.labels.count(label) for label in queries.labels]),
        embeddings={"": queries.embeddings},
        groups=query_groups(labels, [np.array(column, object) for column in columns], numbers),
    )
    return block, shards
