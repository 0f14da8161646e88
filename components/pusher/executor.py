"""The executor of Pusher."""

from __future__ import annotations

import json
from typing import Any

from absl import logging
from tfx import types
from tfx.components.pusher import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from components.index_gen import BUILT, INDEX_KEY
from components.pusher.versioned_push import copy_extras, push, version_path
from components.report_gen import REPORT_KEY
from modules.gate import OPERATING_POINT_FILE, operating_point_path
from modules.index import INDEX_FOLDER, IndexMismatchError, model_fingerprint, read_description
from modules.report import CARD_FILE

KEEP_VERSIONS_KEY = "keep_versions"
EXTRAS_PROPERTY = "pushed_extras"  # where each extra was copied from, as JSON


class Executor(tfx_executor.Executor):
    """TFX's executor with another way of copying, which takes a model's extras along.

    Source: `tfx.components.pusher.executor.Executor`.
    """

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model if it is blessed.

        Args:
            input_dict: `model`; `model_blessing` if the push depends on one; `index` if it has one;
                `report` for the model card.
            output_dict: `pushed_model`, which gets a copy of the model and of its extras but for
                the index.
            exec_properties: `push_destination`, and `custom_config` with `keep_versions`.

        Raises:
            NotImplementedError: The destination is not a file system, or its versions are not
                Unix times.
            OSError: The folder cannot be written; no version has appeared then.
            IndexMismatchError: The index was made by another model.
        """
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        base = _base_directory(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY])
        custom_config = json_utils.loads(
            exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY) or "{}"
        )
        model = self.GetModelPath(input_dict)
        # The copy first: when it fails, nothing was handed over that the metadata do not know.
        extras = _extras(input_dict, model)
        io_utils.copy_dir(model, pushed.uri)
        # Not the index: it can be larger than the model by far, and stays where IndexGen made it.
        copy_extras({k: v for k, v in extras.items() if k != INDEX_FOLDER}, pushed.uri)
        version = push(model, base, (custom_config or {}).get(KEEP_VERSIONS_KEY, 0), extras)
        path = version_path(base, version)
        pushed.set_string_custom_property(EXTRAS_PROPERTY, json.dumps(extras))
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=str(version))
        logging.info("Pusher: the model is %s.", path)


def _extras(input_dict: dict[str, list[types.Artifact]], model: str) -> dict[str, str]:
    """What to put beside the model, as `push` takes it; a rollback reads it from the metadata."""
    extras = {}
    for index in input_dict.get(INDEX_KEY) or []:
        if index.get_int_custom_property(BUILT):
            _check_fits(index.uri, model)
            extras[INDEX_FOLDER] = index.uri
    for blessing in input_dict.get(standard_component_specs.MODEL_BLESSING_KEY) or []:
        path = operating_point_path(blessing.uri)
        if fileio.exists(path):
            extras[OPERATING_POINT_FILE] = path
    for report in input_dict.get(REPORT_KEY) or []:
        if fileio.exists(f"{report.uri}/{CARD_FILE}"):
            extras[CARD_FILE] = f"{report.uri}/{CARD_FILE}"
    return extras


def _check_fits(index: str, model: str) -> None:
    """Makes sure that an index was made by the model, whoever has wired the nodes."""
    made_by, pushed = read_description(index).model, model_fingerprint(model)
    if made_by != pushed:
        raise IndexMismatchError(
            f"Pusher: the index {index} was made by model {made_by[:12]}, and the model to push, "
            f"{model}, is {pushed[:12]}. Their distances mean nothing. Give IndexGen and Pusher "
            "the same model."
        )


def _base_directory(push_destination: str) -> str:
    destination = pusher_pb2.PushDestination()
    proto_utils.json_to_proto(push_destination, destination)
    known = (pusher_pb2.Versioning.AUTO, pusher_pb2.Versioning.UNIX_TIMESTAMP)
    kind = destination.WhichOneof("destination")
    if kind != "filesystem" or destination.filesystem.versioning not in known:
        raise NotImplementedError(
            "Pusher hands over to a file system with Unix times as versions; push_destination is "
            f"{push_destination}"
        )
    return destination.filesystem.base_directory
