"""Models in the metadata database: which are blessed, and which version holds which."""

from __future__ import annotations

from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.config import Config
from pipeline.metadata.runs import connection
from pipeline.runtime import ConfigError

_MODEL_ID, _BLESSED, _REASON = "current_model_id", "blessed", "reason"  # of Evaluator
_REVOKED = "revoked"  # the reason of a blessing before it was revoked


def open_store(config: Config, *, readonly: bool) -> mlmd.MetadataStore:
    """Opens the metadata database of a pipeline that has run.

    Raises:
        ConfigError: It has not.
    """
    name = config.pipeline.name
    if Path(config.pipeline.metadata).exists():
        store = mlmd.MetadataStore(connection(config, readonly=readonly))
        if store.get_context_by_type_and_name("pipeline", name):
            return store
    raise ConfigError(f"Pipeline {name!r} has not run yet: no {config.pipeline.metadata}.")


class Models:
    """The models of one pipeline, their blessings and their pushes.

    Args:
        store: The metadata database.
        pipeline: Name of the pipeline.
    """

    def __init__(self, store: mlmd.MetadataStore, pipeline: str) -> None:
        self._store = store
        context = store.get_context_by_type_and_name("pipeline", pipeline)
        types = {kind.id: kind.name for kind in store.get_artifact_types()}
        by_type: dict[str, list[proto.Artifact]] = {}
        for artifact in store.get_artifacts_by_context(context.id):
            by_type.setdefault(types[artifact.type_id], []).append(artifact)
        self._models = {artifact.id: artifact for artifact in by_type.get("Model", [])}
        self._blessings = by_type.get("ModelBlessing", [])
        self._pushes = [
            artifact
            for artifact in by_type.get("PushedModel", [])
            if artifact.custom_properties["pushed"].int_value == 1
        ]

    def by_id(self, model: int | None) -> proto.Artifact | None:
        """The Model artifact, in whatever state."""
        return self._models.get(model) if model is not None else None

    def blessed(self) -> list[int]:
        """Ids of the models with a blessing that counts, as TFX's resolvers see it; ascending."""
        return sorted(
            {
                blessing.custom_properties[_MODEL_ID].int_value
                for blessing in self._blessings
                if blessing.state == proto.Artifact.LIVE
                and blessing.custom_properties[_BLESSED].int_value == 1
            }
        )

    def blessings_of(self, model: int) -> list[proto.Artifact]:
        """All verdicts about a model."""
        return [
            blessing
            for blessing in self._blessings
            if blessing.custom_properties[_MODEL_ID].int_value == model
        ]

    def versions(self) -> dict[int, int]:
        """Which model each version holds that was ever pushed."""
        found = {}
        for push in self._pushes:
            made = self._store.get_events_by_artifact_ids([push.id])
            executions = [e.execution_id for e in made if e.type == proto.Event.OUTPUT]
            read = self._store.get_events_by_execution_ids(executions) if executions else []
            for event in read:
                key = event.path.steps[0].key if event.path.steps else ""
                if event.type == proto.Event.INPUT and key == "model":
                    found[int(push.custom_properties["pushed_version"].string_value)] = (
                        event.artifact_id
                    )
        return found

    def of_version(self, version: int) -> int | None:
        """The model that a version holds; None if this pipeline did not push it."""
        return self.versions().get(version)

    def make_latest(self, target: proto.Artifact, reason: str) -> list[int]:
        """Makes a model the latest blessed one; doing it twice does nothing more.

        Args:
            target: It gets back a blessing that was revoked.
            reason: Why the blessings of all later models are revoked.

        Returns:
            Ids of the models whose blessing was revoked.
        """
        from components.evaluator import reinstate, revoke  # loads TFX

        revoked = [model for model in self.blessed() if model > target.id]
        changed = []
        for model in revoked:
            if artifact := self.by_id(model):
                revoke(artifact.uri, reason)
            for blessing in self.blessings_of(model):
                if blessing.custom_properties[_BLESSED].int_value == 1:
                    properties = blessing.custom_properties
                    properties[_REVOKED].string_value = properties[_REASON].string_value
                    properties[_REASON].string_value = reason
                    properties[_BLESSED].int_value = 0
                    changed.append(blessing)
        reinstate(target.uri)
        for blessing in self.blessings_of(target.id):
            if _REVOKED in blessing.custom_properties:
                before = blessing.custom_properties.pop(_REVOKED).string_value
                blessing.custom_properties[_REASON].string_value = before
                blessing.custom_properties[_BLESSED].int_value = 1
                changed.append(blessing)
        if changed:
            self._store.put_artifacts(changed)
        return revoked
