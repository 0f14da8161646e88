"""Models of a pipeline: which are blessed, and which pushed version holds which."""

from __future__ import annotations

import json

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata.executions import plain_values
from components.metadata.lineage import MADE, READ, artifacts_by_type, find_events

# Properties that TFX's Evaluator and Pusher set, and ours besides.
MODEL_ID, BLESSED, REASON = "current_model_id", "blessed", "reason"
PUSHED, VERSION, EXTRAS = "pushed", "pushed_version", "pushed_extras"
CHECKSUMS = "pushed_checksums"


def serving_files(model_uri: str) -> str:
    """The SavedModel in a Model artifact (`tfx.utils.path_utils.serving_model_dir`)."""
    return f"{model_uri}/Format-Serving"


class Models:
    """The models of one pipeline, their blessings and their pushes, when this was made.

    Args:
        store: The metadata store.
        pipeline: Name of the pipeline.
    """

    def __init__(self, store: mlmd.MetadataStore, pipeline: str) -> None:
        self._store = store
        by_type = artifacts_by_type(store, pipeline)
        self._models = {artifact.id: artifact for artifact in by_type.get("Model", [])}
        self._blessings = by_type.get("ModelBlessing", [])
        pushes = {
            artifact.id: values
            for artifact in by_type.get("PushedModel", [])
            if (values := plain_values(artifact)).get(PUSHED) == 1
        }
        self._pushes = {number: int(values[VERSION]) for number, values in pushes.items()}
        self._extras, self._checksums = (
            {int(values[VERSION]): str(values.get(key, "{}")) for values in pushes.values()}
            for key in (EXTRAS, CHECKSUMS)
        )

    def by_id(self, model: int | None) -> proto.Artifact | None:
        """The Model artifact, in whatever state."""
        return self._models.get(model) if model is not None else None

    def blessed(self) -> list[int]:
        """Ids of the models with a blessing that counts, as TFX's resolvers see it; ascending."""
        values = (plain_values(b) for b in self._blessings if b.state == proto.Artifact.LIVE)
        return sorted({int(one[MODEL_ID]) for one in values if one.get(BLESSED) == 1})

    def blessings_of(self, model: int) -> list[proto.Artifact]:
        """All verdicts about a model."""
        return [b for b in self._blessings if plain_values(b).get(MODEL_ID) == model]

    def versions(self) -> dict[int, int]:
        """Which model each version holds that was ever pushed."""
        made = find_events(self._store, MADE, artifacts=self._pushes)
        read = find_events(self._store, READ, "model", executions=(e.execution_id for e in made))
        model_of = {event.execution_id: event.artifact_id for event in read}
        return {
            self._pushes[event.artifact_id]: model_of[event.execution_id]
            for event in sorted(made, key=lambda e: e.artifact_id)
            if event.execution_id in model_of
        }

    def of_version(self, version: int) -> int | None:
        """The model that a version holds; None if this pipeline did not push it."""
        return self.versions().get(version)

    def extras_of(self, model: int, version: int | None = None) -> dict[str, str]:
        """What lay beside a model in the serving folder, as `components.pusher.push` takes it.

        Args:
            model: Its id.
            version: That was pushed of it; default: the latest.

        Returns:
            Where each of them was copied from; nothing if the model was never pushed.
        """
        extras: dict[str, str] = json.loads(self._kept(self._extras, model, version))
        return extras

    def checksums_of(self, model: int, version: int | None = None) -> dict[str, str]:
        """The checksums of what was pushed, as of `extras_of`; none of an older push."""
        sums: dict[str, str] = json.loads(self._kept(self._checksums, model, version))
        return sums

    def _kept(self, by_version: dict[int, str], model: int, version: int | None) -> str:
        own = [one for one, held in self.versions().items() if held == model]
        chosen = max(own, default=None) if version is None else version
        return by_version.get(chosen, "{}") if chosen else "{}"
