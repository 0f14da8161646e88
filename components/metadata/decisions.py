"""What a TrainingDecision says: the properties of its artifact, and which nodes follow from it."""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata.executions import plain_values
from components.metadata.lineage import MADE, artifacts_by_id, find_events

DECISION_NODE = "TrainingDecision"
DECISION_KEY = "decision"
TRAIN = "train"  # 1: the run goes on; 0: nothing is trained
WHY = "why"
# The first and the last node of what a run has instead of a training.
UPDATE_NODE = "ServedIndexResolver"
UPDATE_LAST_NODE = "UpdatePusher"
JUDGED_MODEL = "judged_model"  # id of the Model artifact that was served; 0 if there was none
# Of an execution of the Trainer: a hash of all settings and code that its model depends on.
RECIPE = "recipe"


def skips_training(store: mlmd.MetadataStore, execution: proto.Execution) -> bool:
    """Whether an execution of TrainingDecision, new or cached, decided against training."""
    events = find_events(store, MADE, DECISION_KEY, executions=[execution.id])
    made = artifacts_by_id(store, (event.artifact_id for event in events)).values()
    return any(plain_values(one).get(TRAIN) == 0 for one in made)
