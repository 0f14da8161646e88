"""The table `[index]`: the gallery that is embedded with a blessed model, and its index."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modules.settings.base import MOST_IMAGES, Settings

IndexKind = Literal["flat", "ivf", "hnsw"]
IndexStorage = Literal["float32", "float16", "int8"]


class IndexSettings(Settings):
    """`[index]`: the gallery that is embedded with every blessed model, and how it is searched.

    The index is pushed with its model as one version, see docs/index.md. `flat` compares a query
    with every vector; `ivf` and `hnsw` look at some of them and may miss a neighbour. Their recall
    is measured against exact search, and an index below `min_recall` is never made: a more exact
    one takes its place.
    """

    enabled: Annotated[bool, Field(description="push an index with every model")] = True
    gallery: Annotated[
        Literal["window", "train", "eval", "images", "csv", "parquet"],
        Field(
            description="the split to embed; `window`: both, of the window's spans if there are; "
            "the others: a catalogue, image files or sheets in `path`"
        ),
    ] = "window"
    kind: Annotated[
        Literal["auto", "flat", "ivf", "hnsw"],
        Field(description="auto: flat up to `exact_up_to`, above it the first that does"),
    ] = "auto"
    exact_up_to: Annotated[int, Field(ge=1, le=MOST_IMAGES, description="images; for `auto`")] = (
        100_000
    )
    storage: Annotated[IndexStorage, Field(description="of a vector's components in the index")] = (
        "float32"
    )
    min_recall: Annotated[
        float, Field(gt=0, le=1, description="of the exact `k` nearest, so many must be found")
    ] = 0.95
    k: Annotated[int, Field(ge=1, le=1000, description="neighbours for the recall")] = 10
    queries: Annotated[
        int, Field(ge=10, le=100_000, description="images of the gallery to measure it with")
    ] = 1000
    nearest_up_to: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            description="images; a gallery of at most so many goes into the signature `nearest`",
        ),
    ] = 10_000
    thumbnails: Annotated[
        bool, Field(description="keep a small JPEG of each image, for results that people look at")
    ] = True
    seed: Annotated[int, Field(ge=0, le=2**31 - 1, description="of samples and k-means")] = 0

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> IndexSettings:
        given = self.model_fields_set
        if not self.enabled and (others := sorted(given - {"enabled"})):
            raise ValueError(f"enabled = false, so {', '.join(others)} has no effect; remove it")
        if self.kind != "auto" and "exact_up_to" in given:
            raise ValueError(
                f'exact_up_to has no effect with kind = "{self.kind}"; remove it, or set kind = '
                '"auto"'
            )
        unused = sorted(given & {"min_recall", "k", "queries", "seed"})
        if self.kind == "flat" and self.storage == "float32" and unused:
            raise ValueError(
                f"{', '.join(unused)} has no effect: a flat index of float32 is exact, and its "
                "recall is 1; remove it"
            )
        return self
