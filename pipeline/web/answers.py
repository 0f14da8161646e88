"""What the requests are answered with. OpenAPI describes these classes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field

from pipeline.served import (
    Neighbour,
    ServedVersion,
    Verdict,
    squared_distance,
    verdict_values,
)
from pipeline.web.batching import Answer
from pipeline.web.bodies import RefusedError, Upload

Distance = Annotated[float, Field(description="squared L2 of unit vectors: 0 to 4")]


class Fault(BaseModel):
    """Why there is no answer."""

    error: str


class About(BaseModel):
    """The version that answers."""

    version: str
    model: Annotated[str, Field(description="fingerprint of the model's files")]
    gallery: Annotated[int | None, Field(description="images to search; null without an index")]
    kind: Annotated[str | None, Field(description="of the index; flat is exact")]
    recall: Annotated[float | None, Field(description="measured, of an index that is not exact")]
    has_pictures: bool
    threshold: Annotated[
        float | None, Field(description="squared distance below which images count as the same")
    ]


class Embedding(BaseModel):
    """Of one image: its vector, or why there is none."""

    name: str
    vector: list[float] | None = None
    error: str | None = None


class Embeddings(BaseModel):
    """Answer of `/embed`, in the order of the images."""

    version: str
    results: list[Embedding]


class FoundImage(BaseModel):
    """An image of the gallery."""

    id: str
    label: str | None
    distance: Distance
    same: Annotated[
        bool | None, Field(description="distance below the calibrated threshold; null without one")
    ]
    further: dict[str, Any] = {}
    picture: Annotated[str | None, Field(description="small JPEG as a data: URL")] = None


class Neighbours(BaseModel):
    """Of one image: the nearest first, or why there are none."""

    name: str
    neighbours: list[FoundImage] | None = None
    error: str | None = None


class SearchResults(BaseModel):
    """Answer of `/search`, in the order of the images."""

    version: str
    results: list[Neighbours]


class Verification(BaseModel):
    """Answer of `/verify`. Rates are those of the evaluation of the model, at this threshold."""

    version: str
    same: bool
    distance: Distance
    threshold: float
    false_accept_rate: float | None = None
    false_accept_rate_interval: tuple[float, float] | None = None
    true_accept_rate: float | None = None
    true_accept_rate_interval: tuple[float, float] | None = None
    level: float | None = None


def about(version: ServedVersion) -> About:
    """Describes a version."""
    described = version.index.description if version.index else None
    return About(
        version=version.name,
        model=version.model,
        gallery=described and described.images,
        kind=described and described.kind,
        recall=described and described.recall,
        has_pictures=bool(version.index and version.index.has_thumbnails),
        threshold=_threshold(version),
    )


def embeddings(uploads: Sequence[Upload], answer: Answer) -> Embeddings:
    """The vectors of the images."""
    embedded = answer.embedded
    results = [
        Embedding(name=upload.name, error=embedded.faults.get(number))
        for number, upload in enumerate(uploads)
    ]
    for row, vector in zip(embedded.rows, embedded.vectors, strict=True):
        results[row].vector = vector.tolist()
    return Embeddings(version=answer.version.name, results=results)


def search_results(uploads: Sequence[Upload], answer: Answer, pictures: bool) -> SearchResults:
    """The neighbours of the images; pictures come from the version that found them."""
    embedded = answer.embedded
    results = [
        Neighbours(name=upload.name, error=embedded.faults.get(number))
        for number, upload in enumerate(uploads)
    ]
    for row, neighbours in zip(embedded.rows, answer.neighbours, strict=True):
        results[row].neighbours = _found(answer.version, neighbours, pictures)
    return SearchResults(version=answer.version.name, results=results)


def verification(
    uploads: Sequence[Upload], answer: Answer, threshold: float | None
) -> Verification:
    """Whether two images show the same.

    Raises:
        RefusedError: One cannot be used.
        VersionError: There is no threshold.
    """
    for number, fault in answer.embedded.faults.items():
        raise RefusedError(422, f"{uploads[number].name}: {fault}.")
    version = answer.version
    point = None if threshold is not None else version.require_operating_point("send ?threshold=")
    verdict = Verdict(
        squared_distance(*answer.embedded.vectors),
        point.threshold if point else float(threshold or 0),
        point,
    )
    return Verification.model_validate(verdict_values(version, verdict))


def _threshold(version: ServedVersion) -> float | None:
    return version.operating_point.threshold if version.operating_point else None


def _found(
    version: ServedVersion, neighbours: Sequence[Neighbour], pictures: bool
) -> list[FoundImage]:
    rows = [neighbour.row for neighbour in neighbours]
    threshold = _threshold(version)
    small = version.require_index().thumbnails(rows) if pictures else [None] * len(rows)
    return [
        FoundImage(
            id=one.id,
            label=one.label,
            distance=one.distance,
            same=None if threshold is None else one.distance < threshold,
            further=one.further,
            picture=picture and f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}",
        )
        for one, picture in zip(neighbours, small, strict=True)
    ]
