"""The table `[index]`, with the path of a gallery of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from modules.settings import IndexSettings
from pipeline.config.paths import DataPath

_OWN = ("images", "csv", "parquet")


class GalleryIndexSettings(IndexSettings):
    """`[index]`: the gallery that is embedded with every blessed model, and how it is searched.

    The index is pushed with its model as one version, see docs/index.md. `flat` compares a query
    with every vector; `ivf` and `hnsw` look at some of them and may miss a neighbour. Their recall
    is measured against exact search, and an index below `min_recall` is never made: a more exact
    one takes its place.
    """

    path: Annotated[
        DataPath | None,
        Field(
            description="folder of a gallery of its own: image files at any depth, with `images`, "
            "or sheets"
        ),
    ] = None

    @property
    def own_gallery(self) -> str | None:
        """The folder of a gallery that is no part of the data; None if it is one."""
        return self.path if self.enabled and self.gallery in _OWN else None

    @model_validator(mode="after")
    def _path_and_gallery_belong_together(self) -> GalleryIndexSettings:
        if self.gallery in _OWN and self.path is None:
            what = "images" if self.gallery == "images" else f"{self.gallery} sheets"
            raise ValueError(
                f'gallery = "{self.gallery}" needs path, the folder of its {what}; set it, or set '
                'gallery = "window" to embed the images of [data]'
            )
        if self.gallery not in _OWN and self.path is not None:
            raise ValueError(
                f'path has no effect with gallery = "{self.gallery}", which is a part of [data]; '
                'set gallery to "images", "csv" or "parquet", or remove path'
            )
        return self
