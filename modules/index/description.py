"""What `index.json` says of an index, and the faults that an index can have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1


class NoIndexError(FileNotFoundError):
    """A version has no index; the message says how to get one."""


class IndexFileError(ValueError):
    """Files of an index cannot be read, or do not belong together."""


class IndexMismatchError(ValueError):
    """The index of a version was made with another model; the message says what would fit."""


class IndexDescription(BaseModel):
    """`index.json`.

    Example:
        >>> IndexDescription(model="ab12", images=3, dimension=8).kind
        'flat'
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Annotated[int, Field(description="of this layout")] = FORMAT
    model: Annotated[str, Field(description="fingerprint of the model that made the vectors")]
    images: Annotated[int, Field(ge=1, description="in the gallery")]
    dimension: Annotated[int, Field(ge=1, description="of a vector")]
    kind: Annotated[Literal["flat", "ivf", "hnsw"], Field(description="flat is exact")] = "flat"
    storage: Annotated[
        Literal["float32", "float16", "int8"], Field(description="a component of a vector")
    ] = "float32"
    parameters: Annotated[
        dict[str, int | float | str | bool], Field(description="of the index, such as nprobe")
    ] = {}
    k: Annotated[int | None, Field(description="at which the recall was measured")] = None
    recall: Annotated[
        float | None, Field(description="share of the exact k nearest that are found; flat: 1")
    ] = None
    bytes: Annotated[int | None, Field(description="of vectors.faiss")] = None
    source: Annotated[str | None, Field(description="where the gallery came from")] = None
    distance: Literal["squared L2 on unit vectors"] = "squared L2 on unit vectors"
