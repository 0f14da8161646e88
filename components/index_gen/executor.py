"""The executor of IndexGen."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.index_gen.artifact import BUILT, INDEX_KEY, PREVIOUS_KEY, SETTINGS, settings_text
from components.index_gen.assembling import Assembled, assemble
from components.index_gen.earlier import check_readable, column_names
from components.index_gen.reading import Plan, plan_columns
from components.index_gen.shards import write_shards
from modules.index import (
    GALLERY_FILE,
    IMAGE_HASH,
    THUMBNAIL,
    IndexFileError,
    NoIndexError,
    model_fingerprint,
    read_description,
)
from modules.settings import ImageTable, IndexSettings, check_settings

EXAMPLES_KEY = standard_component_specs.EXAMPLES_KEY
MODEL_KEY = standard_component_specs.MODEL_KEY
BLESSING_KEY = standard_component_specs.MODEL_BLESSING_KEY
SETTINGS_KEY = "settings"
BACKGROUND_KEY = "background"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Embeds a gallery and makes its index; see the component for what and why."""

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Makes the index if the model is blessed.

        Args:
            input_dict: `examples`, one artifact or more; `model`; `model_blessing`, none or one;
                `previous_index`, none or one.
            output_dict: `index`.
            exec_properties: `settings`, the table `[index]` as JSON; `background`.

        Raises:
            ValueError: A setting is not allowed; there is no such split, or nothing in it; an id
                occurs twice; the model gives no embedding of length 1 for an image.
        """
        index = artifact_utils.get_single_instance(output_dict[INDEX_KEY])
        settings = check_settings(
            IndexSettings, json.loads(exec_properties[SETTINGS_KEY]), "IndexGen"
        )
        index.set_string_custom_property(SETTINGS, settings_text(settings))
        blessings = input_dict.get(BLESSING_KEY) or []
        if not all(model_utils.is_model_blessed(one) for one in blessings):
            logging.info("IndexGen: the model is not blessed, so it gets no index.")
            index.set_int_custom_property(BUILT, 0)
            return
        examples = input_dict[EXAMPLES_KEY]
        files = _files(examples, settings)
        columns, flagged = plan_columns(files)
        background = exec_properties.get(BACKGROUND_KEY) or ImageTable().background
        plan = Plan(columns, flagged, settings.thumbnails, background)
        model = path_utils.serving_model_path(
            artifact_utils.get_single_instance(input_dict[MODEL_KEY]).uri
        )
        fingerprint = model_fingerprint(model)
        earlier = _usable(input_dict.get(PREVIOUS_KEY) or [], fingerprint, plan)
        shards, parts = f"{index.uri}/.shards", f"{index.uri}/.parts"
        _clear(index.uri)  # of an earlier attempt at this artifact
        tf.io.gfile.makedirs(shards)
        tf.io.gfile.makedirs(parts)
        try:
            with self._make_beam_pipeline() as pipeline:
                write_shards(pipeline, files, plan, model, earlier, shards, parts)
            tf.io.gfile.rmtree(parts)
            source = ", ".join(sorted({_split_of(file) for file in files}))
            made = assemble(shards, index.uri, settings, fingerprint, source)
            tf.io.gfile.rmtree(shards)
        except BaseException:
            with contextlib.suppress(tf.errors.OpError):  # the first error is the one to see
                _clear(index.uri)
            raise
        before = read_description(earlier.rpartition("/")[0]).images if earlier else 0
        _publish(index, made, fingerprint, before)


def _files(examples: list[types.Artifact], settings: IndexSettings) -> list[str]:
    """The files of the gallery."""
    there = sorted(
        {name for one in examples for name in artifact_utils.decode_split_names(one.split_names)}
    )
    if settings.gallery in ("train", "eval") and settings.gallery not in there:
        raise ValueError(
            f"IndexGen: index.gallery is {settings.gallery!r}, but the examples have the splits "
            f"{', '.join(there)}. Name one of those, or 'window' for all."
        )
    wanted = [settings.gallery] if settings.gallery in there else there
    folders = [
        artifact_utils.get_split_uri([one], split)
        for one in examples
        for split in artifact_utils.decode_split_names(one.split_names)
        if split in wanted
    ]
    return sorted(path for folder in folders for path in tf.io.gfile.glob(f"{folder}/*"))


def _split_of(file: str) -> str:
    return file.rstrip("/").split("/")[-2].removeprefix("Split-")


def _usable(previous: list[types.Artifact], fingerprint: str, plan: Plan) -> str | None:
    """The gallery of the previous index, if its vectors are those that this model would make."""
    for one in previous:
        path = f"{one.uri}/{GALLERY_FILE}"
        try:
            same = read_description(one.uri).model == fingerprint
        except (NoIndexError, IndexFileError):  # removed, or of a later version of this project
            continue
        if not same:
            continue
        try:
            check_readable(path)
        except (OSError, ValueError) as error:
            logging.warning(
                "IndexGen: the earlier index %s cannot be read (%s), so all images are embedded "
                "anew.", path, error,
            )  # fmt: skip
        else:
            names = column_names(path)
            if IMAGE_HASH in names and (THUMBNAIL in names or not plan.thumbnails):
                return path
    return None


def _clear(uri: str) -> None:
    """Removes all that an attempt may have left."""
    if tf.io.gfile.isdir(uri):
        for name in tf.io.gfile.listdir(uri):
            path = f"{uri}/{name.rstrip('/')}"
            (tf.io.gfile.rmtree if tf.io.gfile.isdir(path) else tf.io.gfile.remove)(path)


def _publish(index: types.Artifact, made: Assembled, fingerprint: str, before: int) -> None:
    """Notes on the artifact what a summary shows; `before`: images of the earlier gallery."""
    numbers = {
        BUILT: 1,
        "images": made.images,
        "added": made.images - made.kept,
        "kept": made.kept,
        "removed": before - made.kept,
        "recall_k": made.tuned.k,
        "bytes": read_description(index.uri).bytes or 0,
    }
    for name, number in numbers.items():
        index.set_int_custom_property(name, number)
    index.set_float_custom_property("recall", made.tuned.recall)
    index.set_float_custom_property("latency_ms", made.tuned.latency_ms)
    texts = {
        "model_fingerprint": fingerprint,
        "kind": made.tuned.kind,
        "storage": made.tuned.storage,
        **({"instead": made.tuned.instead} if made.tuned.instead else {}),
    }
    for name, text in texts.items():
        index.set_string_custom_property(name, text)
    logging.info(
        "IndexGen: %s images (%s added, %s kept, %s removed) in a %s index of %s, recall@%s %.4f.",
        *(f"{numbers[name]:,}" for name in ("images", "added", "kept", "removed")),
        made.tuned.kind,
        made.tuned.storage,
        made.tuned.k,
        made.tuned.recall,
    )
