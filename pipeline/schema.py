"""The curated schema of the data contract, and the statistics that fit it."""

from __future__ import annotations

from pathlib import Path

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

SCHEMA_FILE = Path(__file__).with_name("schema.pbtxt")


def contract_schema() -> schema_pb2.Schema:
    """Reads the schema of the examples: `image`, `label` and `id`, one value each."""
    return tfdv.load_schema_text(str(SCHEMA_FILE))


def statistics_options() -> tfdv.StatsOptions:
    """Makes the options of StatisticsGen that fit the schema.

    `image`: sizes in bytes and a count per format; `label`: number of classes and the most
    frequent ones; `id`: presence and length only.

    Returns:
        Options that carry the schema, so StatisticsGen must not be given it as an input too.
    """
    return tfdv.StatsOptions(
        schema=contract_schema(),
        # Only the sketches respect that `id` is no category; they also bound the memory, at the
        # price of estimates beyond some thousand classes.
        use_sketch_based_topk_uniques=True,
        # Formats of the images, for minimum_supported_image_fraction.
        enable_semantic_domain_stats=True,
    )
