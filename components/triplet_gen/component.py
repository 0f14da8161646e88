"""The TFX node TripletGen: labelled images in, triplets (anchor, positive, negative) out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from components.triplet_gen import executor
from components.triplet_gen.settings import RANDOM, Settings, check_setting


class TripletGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of TripletGen."""

    PARAMETERS: ClassVar = {
        "triplets_per_anchor": component_spec.ExecutionParameter(type=int),
        "bucket_size": component_spec.ExecutionParameter(type=int),
        "seed": component_spec.ExecutionParameter(type=int),
        "strategy": component_spec.ExecutionParameter(type=str),
        "positives": component_spec.ExecutionParameter(type=str),
        "max_per_class": component_spec.ExecutionParameter(type=int),
        executor.SPLITS_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS: ClassVar = {
        executor.TRIPLETS_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }


class TripletGen(base_beam_component.BaseBeamComponent):
    """Makes triplets of labelled images.

    Every example whose class has a second example is the anchor of `triplets_per_anchor`
    triplets. Its positive is another example of its class and its negative one of any other
    class, both from the anchor's bucket: a random part of the split, of about `bucket_size`
    examples, in which each class has all its examples or groups of about 64 or more. When one
    class fills nearly all of a bucket, rows of other classes from the whole split join it. An
    example alone in its class is a negative only.

    | strategy         | what for                                    | negative                    |
    |------------------|---------------------------------------------|-----------------------------|
    | `random`         | a first model; mining inside the batch      | uniform over the bucket     |
    | `class_balanced` | few frequent classes and many rare ones:    | uniform over the bucket     |
    |                  | each class gets about as many triplets      |                             |
    | `semi_hard`      | a model exists, and random negatives have   | the nearest one farther     |
    |                  | become easy; the safe choice of the two     | than the positive; if none  |
    |                  |                                             | is, the farthest one        |
    | `hard`           | late training on clean labels, since wrong  | the nearest one             |
    |                  | labels make the hardest negatives           |                             |

    - `class_balanced`: with n_c anchors in class c of C classes, T = t · Σ n_c triplets are shared
      (t is `triplets_per_anchor`); an anchor of class c gets T / (C · n_c), rounded up or down by
      a hash of its id. Still about T triplets; buckets with rare classes have more files.
    - `semi_hard`, `hard`, and `positives = 'hard'` (the farthest positive) embed the images with
      an earlier `model`; all are exact within the bucket, so a larger one finds harder triplets.
      Without a model, as in the first run, `random` takes their place (see `sampled_by` below).
    - `max_per_class` = m: only m examples of a class, chosen by hash, are anchors. All stay
      positives and negatives.

    Costs. Each image is read once and copied twice to temporary files beside the output. A worker
    holds one bucket at a time, `bucket_size` encoded images, and the label counts, however large
    the split. `random` and `class_balanced` are bound by reading and writing. Mining adds one pass
    of the model over all images and, for N examples of D dimensions, 2 · N · `bucket_size` · D
    floating-point operations, in blocks of 16 MiB; every worker process loads the model once.

    Measured in one run of `tests.benchmarks.bench_triplet_gen` (MNIST, 60,000 digits at t = 1, one
    worker on 2 cores, small network): `random` 0.9 s, `class_balanced` 1.0 s, `semi_hard` 10.4 s,
    `hard` 10.3 s. The exact search takes 2 to 3 s of the last two, the model most of the rest.

    TripletIndices are stored explicitly, so the output takes

        bytes ≈ 3 · mean bytes of an encoded image · triplets,   triplets = t · anchors

    which is 3 · t times the input: 60,000 digits of 0.3 kB make 54 MB at t = 1, a million
    photographs of 50 kB 150 GB. Use `max_per_class` or a small t for large images. Explicit
    triplets pay when their choice is worth keeping: mined by a model over thousands of candidates,
    balanced over classes, looked at, or trained on more than once. When triplets are to follow the
    model as it changes, mining inside the training batch needs no copies.

    The files are the same, byte by byte, for the same examples (in any order, in any number of
    files), settings and seed, on any runner; with mining also for the same model on the same kind
    of machine, since others round differently. An attempt that fails, as on a full disk, removes
    what it wrote. One that is killed leaves no `triplets.json` and no half file in a split; the
    next at the same artifact begins anew.

    Output `triplets`, of type Examples because that is what Trainer takes:

    - `Split-NAME/triplets-00003-of-00015.tfrecord`, one file per bucket, in random order within
      the file; uncompressed, since images are compressed already. A file has at most
      t · max(2 · `bucket_size`, examples of the bucket) triplets: when `class_balanced` asks for
      more of a rare class, the bucket goes to `…-of-00015-part-00000-of-00007.tfrecord` and so
      on. Features: `anchor/image`, `anchor/label`, `anchor/id`, the same for `positive/` and
      `negative/`, all bytes.
    - custom properties (and `triplets.json`, the same): `triplets`, `anchors`,
      `anchors_without_positive` (examples alone in their class), all summed over the splits, and
      `classes` (different labels over all splits); then each of them of one split, as in
      `train_triplets`; `train_class_sizes`, the number of classes by size in powers of two;
      `strategy` and `positives` as configured, `sampled_by` and `positives_sampled_by` as done.
    - `preview-NAME.png`: the first eight triplets of each split, to look at.

    The executor raises ValueError, with the split and the remedy, if no triplets can be made of
    a split, or if two of its examples have the same id, be it under two labels. It raises
    RuntimeError if a worker process of Beam's local runner is killed.
    """

    SPEC_CLASS = TripletGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel | None = None,
        triplets_per_anchor: int | data_types.RuntimeParameter = 1,
        seed: int | data_types.RuntimeParameter = 0,
        bucket_size: int | data_types.RuntimeParameter = 4096,
        strategy: str | data_types.RuntimeParameter = RANDOM,
        positives: str | data_types.RuntimeParameter = RANDOM,
        max_per_class: int | data_types.RuntimeParameter = 0,
        splits: Sequence[str] = ("train", "eval"),
    ) -> None:
        """Constructs the node.

        Args:
            examples: Examples artifacts of the data contract (`image`, `label`, `id`), gzipped
                TFRecords as ImageExampleGen writes them.
            model: Model artifact to mine with, none or one; its SavedModel has the signature
                `images`, encoded images to `embedding`, unit vectors. Usually from a Resolver.
            triplets_per_anchor: TripletIndices per anchor, at least 1.
            seed: Any integer. Another seed gives other triplets.
            bucket_size: Mean number of examples in a bucket, at least 2. Larger means more
                memory and fewer, larger files; a few thousand is enough for random negatives, and
                mined ones become harder with it.
            strategy: `random`, `class_balanced`, `semi_hard` or `hard`.
            positives: `random` or `hard`.
            max_per_class: The most anchors of a class, 0 for no limit.
            splits: Names of the splits to make triplets of.

        Raises:
            ValueError: If a setting is out of range, or two contradict each other. (Runtime
                parameters are checked when the node runs.)
        """
        executor.check_splits(list(splits) if not isinstance(splits, str) else splits)
        settings: dict[str, Any] = {
            "triplets_per_anchor": triplets_per_anchor,
            "bucket_size": bucket_size,
            "seed": seed,
            "strategy": strategy,
            "positives": positives,
            "max_per_class": max_per_class,
        }
        known = {
            name: value
            for name, value in settings.items()
            if not isinstance(value, data_types.RuntimeParameter)
        }
        if len(known) == len(settings):
            Settings(**known)
        for name, value in known.items():
            check_setting(name, value)
        inputs = {executor.EXAMPLES_KEY: examples}
        if model:
            inputs[executor.MODEL_KEY] = model
        super().__init__(
            spec=TripletGenSpec(
                **inputs,
                **settings,
                splits=json.dumps(list(splits)),
                triplets=types.Channel(type=standard_artifacts.Examples),
            )
        )
