"""A version that is opened: it embeds images, finds their neighbours and compares two of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modules.contract import ID, LABEL
from modules.gate import OperatingPoint, operating_point_path, read_operating_point
from modules.index import (
    GalleryIndex,
    IndexFileError,
    IndexMismatchError,
    NoIndexError,
    check_same_model,
    index_folder,
    model_fingerprint,
    open_index,
)
from modules.settings import MAX_PIXELS
from modules.storage import find_damage
from pipeline.served.embedding import Embedded, embed_images
from pipeline.served.versions import VersionError

if TYPE_CHECKING:
    from modules.models import Embedder


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """One of the gallery, near to a query.

    Attributes:
        row: In the gallery.
        distance: Squared L2 to the query, at most 4.
        further: Other columns of the gallery, text as text.
    """

    row: int
    id: str
    label: str | None
    distance: float
    further: dict[str, Any]


class ServedVersion:
    """A model, and what was pushed with it.

    Attributes:
        folder: Of the version.
        name: Its number.
        model: Fingerprint of the model.
        index: None if the version has none.
        operating_point: None if the version has none.
    """

    def __init__(
        self,
        folder: str,
        model: str,
        embedder: Embedder,
        index: GalleryIndex | None,
        operating_point: OperatingPoint | None,
        max_pixels: int,
    ) -> None:
        self.folder = folder
        self.model = model
        self.name = folder.rstrip("/").rpartition("/")[2]
        self.index = index
        self.operating_point = operating_point
        self._embedder = embedder
        self._max_pixels = max_pixels

    def embed(self, images: Sequence[bytes]) -> Embedded:
        """Embeds encoded images; those that cannot be are named and do not stop the others."""
        return embed_images(self._embedder, images, self._max_pixels)

    def search(self, vectors: np.ndarray, k: int) -> list[list[Neighbour]]:
        """The nearest of the gallery to each vector.

        Args:
            vectors: float32 [Q, D], as `embed` gives them.
            k: The most neighbours.

        Raises:
            VersionError: There is no index.
        """
        index = self.require_index()
        distances, rows = index.search(vectors, k)
        return [
            [
                _neighbour(int(row), float(distance), values)
                for row, distance, values in zip(
                    found[found >= 0], near[found >= 0], index.rows(found[found >= 0]), strict=True
                )
            ]
            for found, near in zip(rows, distances, strict=True)
        ]

    def require_index(self) -> GalleryIndex:
        """The index.

        Raises:
            VersionError: There is none.
        """
        if self.index is None:
            raise VersionError(
                f"Version {self.folder} has a model and no index, so there is nothing to search. "
                "Run the pipeline again with the table [index] in its configuration; the next "
                "push brings one along."
            )
        return self.index

    def require_operating_point(self, otherwise: str = "give --threshold") -> OperatingPoint:
        """The calibrated threshold.

        Args:
            otherwise: What can be done without one, for the message.

        Raises:
            VersionError: There is none.
        """
        if self.operating_point is None:
            raise VersionError(
                f"Version {self.folder} has no calibrated threshold. Say which rate of false "
                "accepts is meant, `[evaluation] false_accept_rate`, and run the pipeline again; "
                f"the next push brings the threshold along. Or {otherwise}."
            )
        return self.operating_point


def open_version(folder: str, max_pixels: int = MAX_PIXELS) -> ServedVersion:
    """Opens a version, once it is sure that its parts belong together.

    Args:
        folder: Of the version.
        max_pixels: Largest width × height of an image to embed.

    Raises:
        VersionError: It has no usable model, its index is broken or was made by another model, or a
            file is not what was pushed.
    """
    if faults := find_damage(folder):
        raise VersionError(
            f"{folder} is not as it was pushed: {', '.join(faults)}. Go back to another version "
            "with `rollback`, or name one by --model; look after the disk."
        )
    try:
        model = check_same_model(folder).model
        index = open_index(index_folder(folder))
    except NoIndexError:
        model, index = model_fingerprint(folder), None
    except FileNotFoundError as error:
        raise VersionError(f"{error} Name the folder of a version by --model.") from error
    except (IndexFileError, IndexMismatchError) as error:
        raise VersionError(str(error)) from error
    try:
        operating_point = read_operating_point(folder)
    except (OSError, ValueError) as error:
        path = operating_point_path(folder)
        raise VersionError(f"{path} cannot be read: {error}. Push the model again.") from error
    from modules.models import Embedder  # loads TensorFlow: after what can be told without it

    try:
        embedder = Embedder(folder)
    except (OSError, ValueError) as error:
        raise VersionError(f"{folder} cannot be used: {error}") from error
    return ServedVersion(folder, model, embedder, index, operating_point, max_pixels)


def as_text(value: object) -> Any:
    """Bytes of the data as text; what is no UTF-8 in it is escaped."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _neighbour(row: int, distance: float, values: dict[str, Any]) -> Neighbour:
    texts = {name: as_text(value) for name, value in values.items()}
    return Neighbour(row, texts.pop(ID), texts.pop(LABEL), distance, texts)
