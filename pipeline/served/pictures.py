"""Pictures of the images of a gallery, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

from modules.storage import is_remote, read_bytes
from pipeline.served.version import Neighbour, ServedVersion


class GalleryPictures:
    """Finds pictures: the thumbnail in the gallery, else the file that the id names."""

    def __init__(self, version: ServedVersion, folder: str | None = None) -> None:
        """Takes where to look.

        Args:
            version: With an index.
            folder: That ids are relative to, where they are paths.
        """
        self._index = version.require_index()
        self._folder = folder and folder.rstrip("/")

    def of(self, neighbours: Sequence[Neighbour]) -> list[bytes | None]:
        """Encoded pictures; None where there is none."""
        small = self._index.thumbnails([neighbour.row for neighbour in neighbours])
        return [
            picture if picture is not None else self.file(neighbour.id)
            for neighbour, picture in zip(neighbours, small, strict=True)
        ]

    def file(self, example_id: str) -> bytes | None:
        """The file that an id names; None if it names none below the folder."""
        # An id is data: it must not lead out of the folder.
        parts = example_id.split("/")
        if self._folder is None or ".." in parts or example_id.startswith("/"):
            return None
        if is_remote(example_id):
            return None
        try:
            return read_bytes(f"{self._folder}/{example_id}")
        except (OSError, ValueError):
            return None
