"""Makes faiss indexes: the same vectors and seed give the same bytes, on every machine alike.

Each of them keeps row numbers as ids, and its search parameter in its file, so a reader needs no
settings. Sources: faiss' `IndexFlat`, `IndexIVF` (Sivic and Zisserman 2003), `IndexHNSW` (Malkov
and Yashunin 2016) and `IndexScalarQuantizer`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from modules.index.vectors import Vectors

if TYPE_CHECKING:
    import faiss

    from modules.settings import IndexKind, IndexStorage

NEIGHBOURS = 32  # of a vector in the graph of hnsw; the lowest layer has twice as many
_CONSTRUCTION = 80  # candidates for them
_TOGETHER = 65_536  # vectors
_PER_LIST = 64  # vectors that k-means looks at for each list of ivf
_LEAST_LIST = 39  # on average; faiss calls fewer too few to train with


def make_index(
    vectors: Vectors, kind: IndexKind, storage: IndexStorage = "float32", seed: int = 0
) -> faiss.Index:
    """Makes an index and adds all vectors, part by part.

    Memory: the index itself and one part; for ivf also 64 vectors for each of its lists, for hnsw
    65,536 vectors.

    Args:
        vectors: At least one.
        kind: `flat`; `ivf`, about 4·√N lists by k-means; or `hnsw`, a graph with 32 neighbours.
            The graph is built by one thread: with several its edges would depend on their race.
        storage: Of the components. `int8` divides the range of each component into 256 steps,
            the range of all vectors, so that none is cut off.
        seed: Of the sample and of k-means.

    Returns:
        With squared L2 as its distance; ids are row numbers.
    """
    index = _empty(vectors, kind, storage, seed)
    _reserve(index, kind, len(vectors))
    if kind == "hnsw":
        with threads(1):
            # The graph depends on which vectors are added together.
            for first in range(0, len(vectors), _TOGETHER):
                last = min(first + _TOGETHER, len(vectors))
                index.add(vectors.take(np.arange(first, last)))
    else:
        for _, part in vectors.parts():
            index.add(part)
    return index


def number_of_lists(images: int) -> int:
    """How many lists ivf gets for so many images."""
    return max(1, min(int(4 * math.sqrt(images)), images // _LEAST_LIST))


def _empty(vectors: Vectors, kind: IndexKind, storage: IndexStorage, seed: int) -> faiss.Index:
    import faiss

    index: Any  # each kind has attributes of its own
    size, squared_l2 = vectors.dimension, faiss.METRIC_L2
    codes: dict[str, Any] = {
        "float16": faiss.ScalarQuantizer.QT_fp16,
        "int8": faiss.ScalarQuantizer.QT_8bit,
    }
    code = codes.get(storage)
    if kind == "ivf":
        lists = number_of_lists(len(vectors))
        coarse = faiss.IndexFlatL2(size)
        if code is None:
            index = faiss.IndexIVFFlat(coarse, size, lists, squared_l2)
        else:
            index = faiss.IndexIVFScalarQuantizer(coarse, size, lists, code, squared_l2, False)
        index.cp.seed = seed
        index.cp.min_points_per_centroid = 1  # a tiny gallery is no fault
        index.cp.max_points_per_centroid = _PER_LIST
        # Also of a gallery that fits: faiss' own sample would depend on its version.
        index.train(vectors.take(sample_rows(len(vectors), _PER_LIST * lists, seed)))
        if storage == "int8":
            index.sq.train(vectors.extremes())
        return index
    if kind == "hnsw":
        if code is None:
            index = faiss.IndexHNSWFlat(size, NEIGHBOURS, squared_l2)
        else:
            index = faiss.IndexHNSWSQ(size, code, NEIGHBOURS, squared_l2)
        index.hnsw.efConstruction = _CONSTRUCTION
    elif code is None:
        index = faiss.IndexFlatL2(size)
    else:
        index = faiss.IndexScalarQuantizer(size, code, squared_l2)
    # Two vectors with the ends of the range say all that there is to learn.
    index.train(vectors.extremes() if storage == "int8" else np.zeros((2, size), np.float32))
    return index


def _reserve(index: Any, kind: IndexKind, images: int) -> None:
    """Takes the memory of all codes at once: where they grow, old and new ones are there together.

    The lists of ivf grow one by one.
    """
    import faiss

    if kind != "ivf":
        flat: Any = faiss.downcast_index(index.storage) if kind == "hnsw" else index
        flat.codes.resize(images * flat.code_size)
        flat.codes.resize(0)  # what is taken stays


def sample_rows(images: int, most: int, seed: int) -> np.ndarray:
    """Row numbers of a sample, ascending: int64 [min(images, most)]."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.choice(images, min(images, most), replace=False))


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Lets faiss use so many threads."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
