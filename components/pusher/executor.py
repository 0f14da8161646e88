"""The executor of Pusher."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from absl import logging
from tfx import types
from tfx.components.pusher import executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from components.index_gen import BUILT, INDEX_KEY
from components.pusher.trial import try_model
from components.pusher.versioned_push import (
    copy_extras,
    push,
    source_checksums,
    version_path,
)
from components.report_gen import REPORT_KEY
from modules.compatibility import COMPATIBILITY_FOLDER
from modules.gate import OPERATING_POINT_FILE, operating_point_path, read_operating_point
from modules.index import (
    GALLERY_FILE,
    INDEX_FOLDER,
    IndexMismatchError,
    model_fingerprint,
    read_description,
    takes_assets,
    write_gallery_assets,
    write_threshold_asset,
)
from modules.report import CARD_FILE

KEEP_VERSIONS_KEY = "keep_versions"
NEAREST_UP_TO_KEY = "nearest_up_to"
EXTRAS_PROPERTY = "pushed_extras"  # where each extra was copied from, as JSON
CHECKSUMS_PROPERTY = "pushed_checksums"  # of the version, as JSON


class Executor(tfx_executor.Executor):
    """TFX's executor with another way of copying, which takes a model's extras along.

    Attributes:
        CHECK: What a model must pass before it is a version; see `components.pusher.try_model`.

    Source: `tfx.components.pusher.executor.Executor`.
    """

    CHECK: ClassVar[Callable[[str], None] | None] = staticmethod(try_model)

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
            exec_properties: `push_destination`, and `custom_config` with `keep_versions` and
                `nearest_up_to`.

        Raises:
            NotImplementedError: The destination is not a file system, or its versions are not
                Unix times.
            OSError: The folder cannot be written; no version has appeared then.
            IndexMismatchError: The index was made by another model.
            UnusableModelError: The model cannot be loaded, or gives no embedding.
        """
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        base = _base_directory(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY])
        config = exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY)
        custom_config = json_utils.loads(config or "{}") or {}
        model = self.GetModelPath(input_dict)
        # The copy first: when it fails, nothing was handed over that the metadata do not know.
        extras = _extras(input_dict, model)
        io_utils.copy_dir(model, pushed.uri)
        # Not the index: it can be larger than the model by far, and stays where IndexGen made it.
        copy_extras({k: v for k, v in extras.items() if k != INDEX_FOLDER}, pushed.uri)
        extras |= _fill_assets(pushed.uri, extras, custom_config.get(NEAREST_UP_TO_KEY, 0))
        keep = custom_config.get(KEEP_VERSIONS_KEY, 0)
        version = push(model, base, keep, extras, type(self).CHECK)
        path = version_path(base, version)
        pushed.set_string_custom_property(EXTRAS_PROPERTY, json.dumps(extras))
        sums = source_checksums(model, extras)
        pushed.set_string_custom_property(CHECKSUMS_PROPERTY, json.dumps(sums))
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
        folder = f"{blessing.uri}/{COMPATIBILITY_FOLDER}"
        if fileio.isdir(folder):
            extras[COMPATIBILITY_FOLDER] = folder
    for report in input_dict.get(REPORT_KEY) or []:
        if fileio.exists(f"{report.uri}/{CARD_FILE}"):
            extras[CARD_FILE] = f"{report.uri}/{CARD_FILE}"
    return extras


def _fill_assets(model: str, extras: dict[str, str], nearest_up_to: int) -> dict[str, str]:
    """Gives the signatures of the copy of a model what they read; returns it as extras."""
    if not takes_assets(model):
        return {}
    filled: dict[str, str] = {}
    index = extras.get(INDEX_FOLDER)
    if index and read_description(index).images <= nearest_up_to:
        filled |= write_gallery_assets(f"{index}/{GALLERY_FILE}", model)
    if point := read_operating_point(model):
        filled |= write_threshold_asset(point.threshold, model)
    return filled


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
