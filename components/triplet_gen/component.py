"""The TFX node TripletGen: labelled images in, triplets and a validation part out."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components.data_audit import Audit
from components.triplet_gen import executor
from modules.settings import TripletSettings, check_settings


class TripletGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of TripletGen."""

    PARAMETERS: ClassVar = {
        "triplets_per_anchor": component_spec.ExecutionParameter(type=int),
        "bucket_size": component_spec.ExecutionParameter(type=int),
        "seed": component_spec.ExecutionParameter(type=int),
        "strategy": component_spec.ExecutionParameter(type=str),
        "positives": component_spec.ExecutionParameter(type=str),
        "skip_nearest": component_spec.ExecutionParameter(type=int),
        "nearest": component_spec.ExecutionParameter(type=int),
        "least_ratio": component_spec.ExecutionParameter(type=float),
        "suspects": component_spec.ExecutionParameter(type=str),
        "max_per_class": component_spec.ExecutionParameter(type=int),
        "buckets": component_spec.ExecutionParameter(type=str),
        "validation": component_spec.ExecutionParameter(type=str),
        "validation_fraction": component_spec.ExecutionParameter(type=float),
        "validation_images": component_spec.ExecutionParameter(type=int),
        executor.BACKGROUND_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.TRAIN_SPLIT_KEY: component_spec.ExecutionParameter(type=str),
        executor.EVAL_SPLIT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        executor.AUDIT_KEY: component_spec.ChannelParameter(type=Audit, optional=True),
    }
    OUTPUTS: ClassVar = {
        executor.TRIPLETS_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }


class TripletGen(base_beam_component.BaseBeamComponent):
    """Makes triplets of labelled images; `docs/triplet-gen.md` is its full contract.

    The train split is dealt out to the splits `train` and `validation` of the output `triplets`, of
    type Examples. Each image is written once, with the features of `modules.contract`: in `train`
    those of an anchor name their positives and negatives by the number of their record in the same
    file. What is held out for `validation` says `ValidationPlan`.

    Every example of `train` whose class has a second one there is the anchor of
    `triplets_per_anchor` triplets. Its positive is another example of its class, its negative one
    of any other class. Both come from the anchor's bucket: a random part of the split, of about
    `bucket_size` examples.

    | strategy         | negative                                                                |
    |------------------|-------------------------------------------------------------------------|
    | `random`         | uniform over the bucket                                                 |
    | `class_balanced` | uniform over the bucket; each class gets about as many triplets         |
    | `semi_hard`      | the nearest one farther than the positive; if there is none, the        |
    |                  | farthest                                                                |
    | `hard`           | the nearest one                                                         |

    `semi_hard`, `hard` and `positives = "hard"` (the farthest positive) need an earlier `model`;
    without one, as in the first run, the node samples at random.

    The same examples, settings and seed give the same files, byte for byte. The executor raises
    ValueError, with the split and the remedy, if no triplets can be made of the split or if an id
    repeats, and RuntimeError if a worker process of Beam's local runner is killed.
    """

    SPEC_CLASS = TripletGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel | None = None,
        audit: types.BaseChannel | None = None,
        triplets_per_anchor: int | data_types.RuntimeParameter = 3,
        seed: int | data_types.RuntimeParameter = 0,
        bucket_size: int | data_types.RuntimeParameter = 4096,
        strategy: str | data_types.RuntimeParameter = "random",
        positives: str | data_types.RuntimeParameter = "random",
        skip_nearest: int | data_types.RuntimeParameter = 0,
        nearest: int | data_types.RuntimeParameter = 1,
        least_ratio: float | data_types.RuntimeParameter = 0.0,
        suspects: str | data_types.RuntimeParameter = "leave_out",
        max_per_class: int | data_types.RuntimeParameter = 0,
        buckets: str | data_types.RuntimeParameter = "hash",
        validation: str | data_types.RuntimeParameter = "auto",
        validation_fraction: float | data_types.RuntimeParameter = 0.1,
        validation_images: int | data_types.RuntimeParameter = 2000,
        train_split: str = "train",
        eval_split: str = "eval",
        background: str = "white",
    ) -> None:
        """Constructs the node.

        Args:
            examples: Examples artifacts of the data contract (`image`, `label`, `id`), gzipped
                TFRecords as ImageExampleGen writes them.
            model: Model artifact to mine with, none or one; its SavedModel has the signature
                `images`, encoded images to `embedding`, unit vectors. Usually from a Resolver.
            audit: Of DataAudit, none or one: whose suspects are not mined as negatives, if
                `suspects` is `leave_out`.
            triplets_per_anchor: How many triplets each anchor gets, 1 to 1,000.
            seed: At least 0. Another seed gives other triplets.
            bucket_size: Mean number of examples in a bucket, at least 2. Larger means more
                memory and fewer, larger files; a few thousand is enough for random negatives, and
                mined ones become harder with it.
            strategy: `random`, `class_balanced`, `semi_hard` or `hard`.
            positives: `random` or `hard`.
            skip_nearest: Of the negatives that a mined strategy allows, leave so many nearest out,
                0 to 1,000.
            nearest: Draw among so many next ones, 1 to 1,000. The triplets of an anchor take
                different ones, if there are enough.
            least_ratio: Leave out mined negatives nearer than this times the L2 distance of the
                positive, 0 (none) to 2.
            suspects: `leave_out` or `keep`.
            max_per_class: The most anchors of a class, 0 for no limit.
            buckets: `hash`, or `neighbourhood`: classes that the `model` confuses share a bucket.
            validation: What is held out: `images`, `classes`, or `auto`, that is classes if no
                class of the eval split is in the train split, else images.
            validation_fraction: Of the images of the train split, above 0 and at most 0.5.
            validation_images: The most images to hold out, about; at least 2.
            train_split: Name of the split to deal out to `train` and `validation`.
            eval_split: Name of the split that is never trained on. Its labels are read if
                `validation` is `auto`; it may be absent.
            background: The colour behind transparent images in the preview, as in `[image]`.

        Raises:
            ValueError: If a setting is out of range, or two contradict each other. (Runtime
                parameters are checked when the node runs.)
        """
        executor.check_splits(train_split, eval_split)
        settings: dict[str, Any] = {
            "triplets_per_anchor": triplets_per_anchor,
            "bucket_size": bucket_size,
            "seed": seed,
            "strategy": strategy,
            "positives": positives,
            "skip_nearest": skip_nearest,
            "nearest": nearest,
            "least_ratio": least_ratio,
            "suspects": suspects,
            "max_per_class": max_per_class,
            "buckets": buckets,
            "validation": validation,
            "validation_fraction": validation_fraction,
            "validation_images": validation_images,
        }
        # The defaults of what is not known yet contradict no other value.
        known = {
            name: value
            for name, value in settings.items()
            if not isinstance(value, data_types.RuntimeParameter)
        }
        check_settings(TripletSettings, known, "TripletGen")
        inputs = {executor.EXAMPLES_KEY: examples}
        if model:
            inputs[executor.MODEL_KEY] = model
        if audit:
            inputs[executor.AUDIT_KEY] = audit
        super().__init__(
            spec=TripletGenSpec(
                **inputs,
                **settings,
                train_split=train_split,
                eval_split=eval_split,
                background=background,
                triplets=types.Channel(type=standard_artifacts.Examples),
            )
        )
