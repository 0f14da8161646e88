"""The TFX node TripletGen: labelled images in, triplets (anchor, positive, negative) out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components.triplet_gen import executor


class TripletGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of TripletGen."""

    PARAMETERS: ClassVar = {
        executor.TRIPLETS_PER_ANCHOR_KEY: component_spec.ExecutionParameter(type=int),
        executor.SEED_KEY: component_spec.ExecutionParameter(type=int),
        executor.BUCKET_SIZE_KEY: component_spec.ExecutionParameter(type=int),
        executor.SPLITS_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }
    OUTPUTS: ClassVar = {
        executor.TRIPLETS_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }


class TripletGen(base_beam_component.BaseBeamComponent):
    """Makes triplets of labelled images.

    Every example whose class has a second example is the anchor of `triplets_per_anchor`
    triplets. Its positive is another example of its class and its negative one of any other
    class, both uniform over the anchor's bucket: a random part of the split, of about
    `bucket_size` examples, in which each class has all its examples or groups of about 64 or
    more. When one class fills nearly all of a bucket, rows of other classes from the whole split
    join it. An example alone in its class is a negative only.

    Each image is read twice and shuffled once; a worker holds one bucket at a time, that is
    `bucket_size` encoded images, and the label counts. The files are the same, byte by byte, for
    the same examples (in any order, in any number of files), settings and seed, on any runner.

    Output `triplets`, of type Examples because that is what Trainer takes:

    - `Split-NAME/triplets-00003-of-00015.tfrecord`, one file per bucket, in random order within
      the file; uncompressed, since images are compressed already. Features: `anchor/image`,
      `anchor/label`, `anchor/id`, the same for `positive/` and `negative/`, all bytes.
    - custom properties (and `triplets.json`, the same): `triplets`, `anchors`,
      `anchors_without_positive` (examples alone in their class), all summed over the splits, and
      `classes` (different labels over all splits); then each of them of one split, as in
      `train_triplets`; and `train_class_sizes`, the number of classes by size in powers of two.
    - `gallery-NAME.png`: the first eight triplets of each split, to look at.

    The executor raises ValueError, with the split and the remedy, if no triplets can be made of
    a split.
    """

    SPEC_CLASS = TripletGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        triplets_per_anchor: int | data_types.RuntimeParameter = 1,
        seed: int | data_types.RuntimeParameter = 0,
        bucket_size: int | data_types.RuntimeParameter = 4096,
        splits: Sequence[str] = ("train", "eval"),
    ) -> None:
        """Constructs the node.

        Args:
            examples: Examples artifacts of the data contract (`image`, `label`, `id`), gzipped
                TFRecords as ImageExampleGen writes them.
            triplets_per_anchor: Triplets per anchor, at least 1.
            seed: Any integer. Another seed gives other triplets.
            bucket_size: Mean number of examples in a bucket, at least 2. Larger means more
                memory and fewer, larger files; a few thousand is enough for random negatives.
            splits: Names of the splits to make triplets of.

        Raises:
            ValueError: If a setting is out of range. (Runtime parameters are checked when the
                node runs.)
        """
        executor.check_splits(list(splits) if not isinstance(splits, str) else splits)
        for key, value in (
            (executor.TRIPLETS_PER_ANCHOR_KEY, triplets_per_anchor),
            (executor.BUCKET_SIZE_KEY, bucket_size),
        ):
            if isinstance(value, int):
                executor.check_minimum(key, value)
        super().__init__(
            spec=TripletGenSpec(
                examples=examples,
                triplets_per_anchor=triplets_per_anchor,
                seed=seed,
                bucket_size=bucket_size,
                splits=json.dumps(list(splits)),
                triplets=types.Channel(type=standard_artifacts.Examples),
            )
        )
