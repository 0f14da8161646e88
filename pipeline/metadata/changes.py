"""Changes of artifacts: blessings that are revoked or given back, and artifacts that are gone."""

from __future__ import annotations

from collections.abc import Sequence

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import BLESSED, REASON, Models, plain_values

_REVOKED = "revoked"  # the reason of a blessing before it was revoked


def make_latest(
    store: mlmd.MetadataStore, models: Models, target: proto.Artifact, reason: str
) -> list[int]:
    """Makes a model the latest blessed one; doing it twice does nothing more.

    Args:
        store: The metadata store.
        models: The models of the pipeline; their blessings are changed too.
        target: It gets back a blessing that was revoked.
        reason: Why the blessings of all later models are revoked.

    Returns:
        Ids of the models whose blessing was revoked.
    """
    from components.evaluator import reinstate, revoke  # loads TFX

    revoked = [model for model in models.blessed() if model > target.id]
    changed = []
    for model in revoked:
        if artifact := models.by_id(model):
            revoke(artifact.uri, reason)
        for blessing in models.blessings_of(model):
            if plain_values(blessing).get(BLESSED) == 1:
                before = str(plain_values(blessing).get(REASON, ""))
                _judge(blessing, blessed=0, reason=reason)
                blessing.custom_properties[_REVOKED].string_value = before
                changed.append(blessing)
    reinstate(target.uri)
    for blessing in models.blessings_of(target.id):
        if _REVOKED in blessing.custom_properties:
            before = blessing.custom_properties.pop(_REVOKED).string_value
            _judge(blessing, blessed=1, reason=before)
            changed.append(blessing)
    if changed:
        store.put_artifacts(changed)
    return revoked


def _judge(blessing: proto.Artifact, *, blessed: int, reason: str) -> None:
    blessing.custom_properties[BLESSED].int_value = blessed
    blessing.custom_properties[REASON].string_value = reason


def mark_deleted(store: mlmd.MetadataStore, artifacts: Sequence[proto.Artifact]) -> None:
    """Marks artifacts whose files are about to go; no cache and no resolver takes them then."""
    for artifact in artifacts:
        artifact.state = proto.Artifact.DELETED
    if artifacts:
        store.put_artifacts(artifacts)
