"""What a database is asked for, and what it keeps of a collection beside the vectors."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.runtime import PipelineError
from pipeline.vector_databases.gallery import Batch

DIGITS = 12  # of a hash in a name: as many as in messages, PostgreSQL cuts names at 63


class VectorDatabaseError(PipelineError):
    """A vector database cannot be used; the message says which one, why and what to do."""


class Facts(BaseModel):
    """What a collection says of itself: Qdrant keeps it as metadata, PostgreSQL as a comment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    made_by: Literal["triplet-pipeline"] = "triplet-pipeline"
    alias: Annotated[str, Field(description="under which it is served")]
    model: Annotated[str, Field(description="fingerprint of the model that made the vectors")]
    gallery: Annotated[str, Field(description="SHA-256 of gallery.parquet")]
    version: Annotated[int | None, Field(description="that was handed over last")] = None
    images: int
    dimension: int
    complete: Annotated[bool, Field(description="all images were there and counted")] = False
    served: Annotated[str, Field(description="when the alias was last set to it, UTC")] = ""

    @property
    def collection(self) -> str:
        """The name of the collection."""
        return collection_name(self.alias, self.model, self.gallery)


class Stored(NamedTuple):
    """A collection that a database holds."""

    name: str
    facts: Facts


def collection_name(alias: str, model: str, gallery: str) -> str:
    """The name of a collection says what is in it, so that the same content is one collection.

    Args:
        alias: Lower-case letters, digits and `_`.
        model: Fingerprint of the model.
        gallery: SHA-256 of the gallery.
    """
    return f"{alias}_{model[:DIGITS]}_{gallery[:DIGITS]}"


def read_facts(value: str | dict[str, Any] | None) -> Facts | None:
    """The facts of a collection; None for one that others made."""
    try:
        return Facts.model_validate(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, ValidationError):
        return None


class Database(Protocol):
    """A vector database; every method raises VectorDatabaseError where it cannot do its part."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    def alone(self, alias: str) -> AbstractContextManager[None]:
        """Keeps a second hand-over to this alias out, where the database can."""

    def check(self, facts: Facts) -> None:
        """Raises where this gallery cannot be stored here, before anything is loaded."""

    def collections(self, alias: str) -> list[Stored]:
        """Those that were made for an alias, in the order of their names."""

    def served(self, alias: str) -> str | None:
        """The collection that an alias stands for; None if there is no such alias."""

    def create(self, facts: Facts) -> None:
        """Makes an empty collection."""

    def loaded(self, collection: str) -> int:
        """How many images are there, if these are the first ones and nothing else; otherwise 0."""

    def batch_size(self, dimension: int) -> int:
        """How many images it takes at once."""

    def add(self, facts: Facts, batch: Batch) -> None:
        """Stores images; those that are there already stay one."""

    def prepare(self, facts: Facts) -> None:
        """Makes a loaded collection quick to search."""

    def count(self, collection: str) -> int:
        """How many images are there, counted one by one."""

    def switch(self, facts: Facts) -> None:
        """Counts once more, keeps the facts, and sets the alias: readers see all of it or none."""

    def remove(self, collection: str) -> None:
        """Removes a collection."""
