"""A gallery in Qdrant: a collection with metadata, points numbered by row, and an alias.

| of a point | holds                                                                      |
|------------|----------------------------------------------------------------------------|
| id         | the row of the gallery, so that sending it again changes nothing           |
| vector     | D float32; the score is the L2 distance, whose square is the one used here |
| payload    | `id`, `label`, `columns` (further ones) and `model`, the first 12 digits   |
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.vector_databases.collection import (
    DIGITS,
    Facts,
    Stored,
    VectorDatabaseError,
    read_facts,
)
from pipeline.vector_databases.gallery import Batch
from pipeline.vector_databases.times import now

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_REQUEST_BYTES = 8_000_000  # of JSON; a server refuses more than 32 MB
_COMPONENT_BYTES = 22  # of JSON: a float32 in all its digits, and a comma


class QdrantDatabase:
    """Implements `Database`.

    Args:
        client: Of a server, or of the client's own local mode.
        place: Where it is, for messages.
        patience: Seconds to wait until a loaded collection is indexed.
    """

    def __init__(self, client: QdrantClient, place: str, patience: float = 3600) -> None:
        self._client = client
        self.place = place
        self._patience = patience

    @contextlib.contextmanager
    def alone(self, alias: str) -> Iterator[None]:
        """Qdrant has no locks; two of the same gallery do no harm, as points are numbered."""
        yield

    def check(self, facts: Facts) -> None:
        """A collection may have the name of the alias, or one of ours be made anew by others."""
        with self._faults():
            names = {one.name for one in self._client.get_collections().collections}
            if facts.alias in names:
                raise VectorDatabaseError(
                    f"{self.place} has a collection {facts.alias}, so no alias can have this name. "
                    "Give another one with --name."
                )
            if facts.collection not in names:
                return
            config = self._client.get_collection(facts.collection).config
        size = getattr(config.params.vectors, "size", None)
        if read_facts(config.metadata) is None or size != facts.dimension:
            raise VectorDatabaseError(
                f"The collection {facts.collection} in {self.place} was not made by this command, "
                f"or holds vectors of another size ({size}, not {facts.dimension}). Remove it, or "
                "give another --name."
            )

    def collections(self, alias: str) -> list[Stored]:
        """Those whose metadata names the alias."""
        with self._faults():
            found = [
                (one.name, read_facts(self._client.get_collection(one.name).config.metadata))
                for one in self._client.get_collections().collections
                if one.name.startswith(f"{alias}_")
            ]
        return sorted(
            Stored(name, facts) for name, facts in found if facts and facts.alias == alias
        )

    def served(self, alias: str) -> str | None:
        """What the alias stands for."""
        with self._faults():
            aliases = self._client.get_aliases().aliases
        return next((one.collection_name for one in aliases if one.alias_name == alias), None)

    def create(self, facts: Facts) -> None:
        """Vectors and payload lie on disk, so that an old collection costs no memory."""
        from qdrant_client import models

        with self._faults():
            self._client.create_collection(
                facts.collection,
                vectors_config=models.VectorParams(
                    size=facts.dimension, distance=models.Distance.EUCLID, on_disk=True
                ),
                on_disk_payload=True,
                metadata=facts.model_dump(),
            )
            if self._client.get_collection(facts.collection).config.metadata is None:
                self._client.delete_collection(facts.collection)
                raise VectorDatabaseError(
                    f"Qdrant at {self.place} keeps no metadata of collections, where the model is "
                    "written. Update the server."
                )

    def loaded(self, collection: str) -> int:
        """Numbers are distinct, so n points without one of number n or more are 0 … n−1."""
        count = self.count(collection)
        with self._faults():
            beyond, _ = self._client.scroll(
                collection, offset=count, limit=1, with_payload=False, with_vectors=False
            )
        return 0 if beyond else count

    def batch_size(self, dimension: int) -> int:
        """As many as a request holds."""
        return max(1, min(1024, _REQUEST_BYTES // (_COMPONENT_BYTES * dimension)))

    def add(self, facts: Facts, batch: Batch) -> None:
        """One request, which the server has carried out when it answers."""
        from qdrant_client import models

        model = facts.model[:DIGITS]
        payloads: list[dict[str, Any]] = [
            {"id": name, "label": label, "columns": columns, "model": model}
            for name, label, columns in zip(batch.ids, batch.labels, batch.columns, strict=True)
        ]
        numbers = list(range(batch.first, batch.first + len(batch.ids)))
        points = models.Batch(ids=numbers, vectors=batch.vectors.tolist(), payloads=payloads)
        with self._faults():
            self._client.upsert(facts.collection, points, wait=True)

    def prepare(self, facts: Facts) -> None:
        """Waits until the server has built its graph, as searches are slow before."""
        from qdrant_client import models

        end = time.monotonic() + self._patience
        while True:
            with self._faults():
                state = self._client.get_collection(facts.collection)
            if state.status == models.CollectionStatus.RED:
                raise VectorDatabaseError(
                    f"{self.place} cannot index {facts.collection}: {state.optimizer_status}. "
                    "See the log of the server, then run the command again."
                )
            if state.status != models.CollectionStatus.YELLOW:
                return
            if time.monotonic() > end:
                raise VectorDatabaseError(
                    f"{self.place} still indexes {facts.collection} after {self._patience:.0f} s. "
                    "Run the command again later; it goes on from here."
                )
            time.sleep(1)

    def count(self, collection: str) -> int:
        """Exact, not the server's estimate."""
        with self._faults():
            return int(self._client.count(collection, exact=True).count)

    def switch(self, facts: Facts) -> None:
        """Removes and makes the alias in one request, which the server carries out as one."""
        from qdrant_client import models

        if self.loaded(facts.collection) != facts.images:
            raise VectorDatabaseError(
                f"{facts.collection} in {self.place} does not hold the {facts.images:,} images of "
                "the gallery any more. Run the command again."
            )
        known = facts.model_copy(update={"complete": True, "served": now()})
        changes: list[Any] = [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(
                    alias_name=facts.alias, collection_name=facts.collection
                )
            )
        ]
        if self.served(facts.alias):
            remove = models.DeleteAlias(alias_name=facts.alias)
            changes.insert(0, models.DeleteAliasOperation(delete_alias=remove))
        with self._faults():
            self._client.update_collection(facts.collection, metadata=known.model_dump())
            self._client.update_collection_aliases(change_aliases_operations=changes)

    def remove(self, collection: str) -> None:
        """Removes a collection."""
        with self._faults():
            self._client.delete_collection(collection)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Whatever the client raises, as a message with the place and what to do."""
        from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

        try:
            yield
        except UnexpectedResponse as error:
            remedy = (
                "Set QDRANT_API_KEY to a key that may write."
                if error.status_code in (401, 403)
                else "What is loaded stays: run the command again when that is put right."
            )
            raise VectorDatabaseError(f"Qdrant at {self.place}: {error}. {remedy}") from error
        except ApiException as error:
            raise VectorDatabaseError(
                f"Qdrant at {self.place} does not answer: {error}. Is it running, and is --url its "
                "REST address? What is loaded stays: run the command again."
            ) from error
        except ValueError as error:  # of the local mode
            raise VectorDatabaseError(
                f"Qdrant at {self.place}: {error}. Run the command again when that is put right."
            ) from error
