"""Blocks of queries that go through a gallery together, which costs as much as for one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from modules.retrieval.embedding_files import EmbeddingFiles, StoredGallery, values_of
from modules.retrieval.rows import QueryRows, concatenate_queries

_TOGETHER = 1 << 22  # values in the embeddings that go through the gallery together: 16 MB


class SearchTogether(beam.DoFn):
    """QueryRows, and Shards as the first side input, with places for embeddings → what is found.

    Args:
        search: Takes queries of several blocks, a gallery to go through once or again, and what
            other side inputs there are.
        folder: As for `StoreEmbeddings`.
    """

    def __init__(self, search: Callable[..., Iterator[Any]], folder: str) -> None:
        self._search, self._folder = search, folder

    def start_bundle(self) -> None:
        """Begins with nothing."""
        self._files = EmbeddingFiles(self._folder)
        self._waiting: list[QueryRows] = []
        self._sides: tuple[Any, ...] = ()

    def process(self, block: QueryRows, *sides: Any) -> Iterator[Any]:
        """Takes a block, and searches for those before it when they are enough."""
        block = self._files.load_queries(block)
        if sum(values_of(one.rows) for one in (*self._waiting, block)) > _TOGETHER:
            yield from self._take()
        self._waiting.append(block)
        self._sides = StoredGallery(sides[0], self._files), *sides[1:]

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Searches for the others."""
        for result in self._take():
            yield GlobalWindows.windowed_value(result)
        del self._files  # and with it what is mapped

    def _take(self) -> Iterator[Any]:
        if self._waiting:
            # Blocks are ranges of ids.
            blocks = sorted(self._waiting, key=lambda block: block.rows.ids[0])
            self._waiting = []
            yield from self._search(concatenate_queries(blocks), *self._sides)
