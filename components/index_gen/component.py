"""The node IndexGen."""

from __future__ import annotations

from typing import ClassVar

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import BaseChannel, Channel, component_spec, standard_artifacts

from components.index_gen import executor
from components.index_gen.artifact import INDEX_KEY, PREVIOUS_KEY, Index, settings_text
from modules.settings import ImageTable, IndexSettings


class IndexGenSpec(component_spec.ComponentSpec):
    """Inputs, output and parameters of IndexGen."""

    PARAMETERS: ClassVar = {
        executor.SETTINGS_KEY: component_spec.ExecutionParameter(type=str),
        executor.BACKGROUND_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        executor.BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
        PREVIOUS_KEY: component_spec.ChannelParameter(type=Index, optional=True),
    }
    OUTPUTS: ClassVar = {INDEX_KEY: component_spec.ChannelParameter(type=Index)}


class IndexGen(base_beam_component.BaseBeamComponent):
    """Embeds the gallery with a blessed model, and makes the index that is pushed with it.

    Files (see `modules.index.layout`): `gallery.parquet`, a row for each image in the order of
    their ids, with its label, the further columns of the data, a hash of the encoded image, perhaps
    a thumbnail, and the vector; `vectors.faiss`, in which row numbers are ids; `index.json`.

    - An image is embedded once by a model. What `previous_index` has of the same model, by id and
      hash, is taken over; the result is the same, byte by byte, as without it.
    - The result depends on data, model and settings alone, not on the runner or its parallelism.
    - An approximate index is measured against exact search, and replaced if its recall is below
      `min_recall` (`modules.index.tuning`).
    - Images with `is_gallery` = 0 are left out.

    Custom properties of `index`: `built` (0: the model is not blessed, and there are no files);
    `images` = `added` + `kept`, and `removed`: what the previous index of this model had besides;
    `kind`, `storage`, `bytes`, `recall`, `recall_k`, `latency_ms`, `instead` (why it is not what
    was asked for); `model_fingerprint`; `settings`.
    """

    SPEC_CLASS = IndexGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: BaseChannel,
        model: BaseChannel,
        settings: IndexSettings,
        model_blessing: BaseChannel | None = None,
        previous_index: BaseChannel | None = None,
        background: str = ImageTable().background,
    ) -> None:
        """Describes the node.

        Args:
            examples: Of the data contract.
            model: Of type Model, from Trainer.
            settings: `[index]`.
            model_blessing: Of type ModelBlessing; without it every model gets an index.
            previous_index: None or one, whose vectors may be taken over.
            background: The colour behind transparent images in thumbnails, as in `[image]`.
        """
        super().__init__(
            spec=IndexGenSpec(
                examples=examples,
                model=model,
                model_blessing=model_blessing,
                previous_index=previous_index,
                settings=settings_text(settings),
                background=background,
                index=Channel(type=Index),
            )
        )
