"""TFX's handle on the metadata database of a cluster."""

from __future__ import annotations

from tfx.orchestration import metadata

from pipeline.metadata import connect_store, connection_config


class ClusterMetadata(metadata.Metadata):
    """A handle that waits for a database that is starting, and knows what PostgreSQL needs.

    Args:
        url: See `pipeline.metadata.connection_config`.
    """

    def __init__(self, url: str) -> None:
        super().__init__(connection_config(url))
        self._url = url

    def __enter__(self) -> ClusterMetadata:
        # Private names of TFX; tests/test_private_names.py notices when they change.
        self._store = connect_store(self._url)
        self._users += 1
        return self
