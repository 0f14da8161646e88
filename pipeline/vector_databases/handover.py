"""The order in which a database gets a gallery: loaded, counted, switched to, and only then tidied.

Each content is a collection of its own, named by the hashes of its model and its gallery. So a push
that was killed goes on in the same collection, one that is done finds it whole, and after a
rollback the collection of the earlier model is still there and only the alias moves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from pipeline.vector_databases.collection import Database, Facts, Stored, VectorDatabaseError
from pipeline.vector_databases.gallery import Gallery


@dataclasses.dataclass(frozen=True)
class HandedOver:
    """What was done.

    Attributes:
        facts: Of the collection that is served now.
        loaded: Images that were loaded by this call.
        before: The collection that was served before; None if there was none.
        removed: Collections that were removed.
    """

    facts: Facts
    loaded: int
    before: str | None
    removed: list[str]

    @property
    def collection(self) -> str:
        """The name of the collection that is served now."""
        return self.facts.collection

    @property
    def done_before(self) -> bool:
        """Whether it was there and served before this call."""
        return self.loaded == 0 and self.before == self.collection


def hand_over(
    gallery: Gallery,
    database: Database,
    alias: str,
    keep: int,
    progress: Callable[[int], None] = lambda images: None,
) -> HandedOver:
    """Loads a gallery and lets an alias stand for it.

    Args:
        gallery: To be loaded.
        database: That takes it.
        alias: Under which readers find it.
        keep: How many collections that were served before are kept, for a rollback.
        progress: Is told how many images are there.

    Raises:
        VectorDatabaseError: The database cannot take it. The alias still stands for what it did,
            and another call goes on where this one ended.
    """
    facts = Facts(
        alias=alias,
        model=gallery.description.model,
        gallery=gallery.digest,
        version=gallery.version,
        images=gallery.description.images,
        dimension=gallery.description.dimension,
    )
    with database.alone(alias):
        database.check(facts)
        found = {stored.name: stored for stored in database.collections(alias)}
        before = database.served(alias)
        known = None
        if facts.collection in found:
            known = found[facts.collection].facts
            facts = known.model_copy(update={"version": gallery.version})
        else:
            database.create(facts)
        loaded = _load(gallery, database, facts, progress)
        done = HandedOver(facts, loaded, before, [])
        if not (done.done_before and facts.complete and facts == known):
            database.prepare(facts)
            database.switch(facts)
        others = [stored for name, stored in found.items() if name != facts.collection]
        for name in to_remove(others, gallery.version, keep):
            database.remove(name)
            done.removed.append(name)
    return done


def _load(
    gallery: Gallery, database: Database, facts: Facts, progress: Callable[[int], None]
) -> int:
    """Loads what is missing and returns how many images that were."""
    name, loaded = facts.collection, 0
    # Where the first pass is not enough, as after others changed something, all is sent once more.
    for start in (database.loaded(name), 0):
        if start < facts.images:
            for batch in gallery.batches(start, database.batch_size(facts.dimension)):
                database.add(facts, batch)
                loaded += len(batch.ids)
                progress(batch.first + len(batch.ids))
        if database.loaded(name) == facts.images:
            progress(facts.images)
            return loaded
    raise VectorDatabaseError(
        f"{name} in {database.place} holds {database.count(name):,} images and the gallery "
        f"{facts.images:,}: "
        "somebody else writes to it. Remove this collection and run the command again."
    )


def to_remove(others: list[Stored], version: int | None, keep: int) -> list[str]:
    """Which collections of an alias go, beside the one that is served.

    Args:
        others: All but the one that is served.
        version: That is served now.
        keep: How many that were served before stay, the latest ones.
    """
    served = sorted(
        (one for one in others if one.facts.served), key=lambda one: one.facts.served, reverse=True
    )
    # What was begun and never served is left by a push that was killed; one of a later version may
    # still go on.
    begun = [
        one
        for one in others
        if not one.facts.served
        and (version is None or one.facts.version is None or one.facts.version <= version)
    ]
    return [one.name for one in served[keep:] + begun]
