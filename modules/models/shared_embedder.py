"""A model that the steps of a Beam pipeline share."""

from __future__ import annotations

from apache_beam.utils import shared

from modules.models.embedder import Embedder


class SharedEmbedder:
    """An embedder that the steps of a pipeline share: a process loads the model once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle = shared.Shared()

    def acquire(self) -> Embedder:
        """Loads the model, or finds it loaded."""
        return self._handle.acquire(lambda: Embedder(self._path))
