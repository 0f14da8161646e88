"""The curated schema, and the statistics made with it, on all 5,000 real digits."""

from __future__ import annotations

import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import schema_pb2

from components.statistics_gen import IMAGE_FEATURES
from modules.contract import FEATURES, ID, IMAGE, LABEL
from modules.settings import DriftThresholds, SkewThresholds
from pipeline.datasets import load_dataset, write_dataset
from pipeline.schema import SCHEMA_FILE, contract_schema, statistics_options
from tests.real_data import BEAM_ARGS


def test_the_schema_is_the_contract():
    schema = contract_schema()
    assert tuple(feature.name for feature in schema.feature) == FEATURES
    for feature in schema.feature:
        assert feature.type == schema_pb2.BYTES
        assert feature.presence.min_fraction == 1
        assert feature.presence.min_count == 1
        assert [dim.size for dim in feature.shape.dim] == [1]


def test_the_options_survive_the_way_to_the_node():
    # TFX hands them to StatisticsGen as JSON, which refuses some options.
    options = tfdv.StatsOptions.from_json(statistics_options().to_json())
    assert options.schema == tfdv.load_schema_text(str(SCHEMA_FILE))
    assert options.use_sketch_based_topk_uniques
    assert options.enable_semantic_domain_stats


def test_statistics_of_the_digits(tmp_path):
    splits = load_dataset("mnist-sample")
    write_dataset(tmp_path / "data", {"train": splits["train"].encoded()})
    statistics = tfdv.generate_statistics_from_tfrecord(
        str(tmp_path / "data" / "train" / "*"),
        output_path=str(tmp_path / "statistics"),
        stats_options=statistics_options(),
        pipeline_options=PipelineOptions(BEAM_ARGS),
    )
    (dataset,) = statistics.datasets
    features = {feature.path.step[0]: feature for feature in dataset.features}
    assert sorted(features) == sorted(FEATURES)
    assert dataset.num_examples == 4_000

    image = features[IMAGE]
    sizes = [len(png) for png, _, _ in splits["train"].encoded()]
    assert image.WhichOneof("stats") == "bytes_stats"  # so neither ranks nor top values
    assert image.bytes_stats.min_num_bytes == min(sizes)
    assert image.bytes_stats.max_num_bytes == max(sizes)
    assert abs(image.bytes_stats.avg_num_bytes - sum(sizes) / 4_000) < 1e-3
    formats = {stat.name: stat.rank_histogram.buckets for stat in image.custom_stats}
    (png,) = formats["image_format_histogram"]
    assert (png.label, png.sample_count) == ("png", 4_000)

    label = features[LABEL].string_stats
    assert label.unique == 10
    assert {value.value: value.frequency for value in label.top_values} == {
        str(digit): 400 for digit in range(10)
    }

    identifier = features[ID].string_stats
    assert identifier.common_stats.num_non_missing == 4_000
    assert identifier.avg_length == len("mnist-sample/00000")
    assert not identifier.top_values
    assert not identifier.rank_histogram.buckets

    stored = statistics.SerializeToString()
    assert b"mnist-sample/" not in stored  # neither ids
    assert b"IHDR" not in stored  # nor images

    assert not tfdv.validate_statistics(statistics, contract_schema()).anomaly_info


def test_the_contract_knows_nothing_of_what_statistics_derive():
    # Transform parses by this schema; ExampleValidator completes it for itself.
    assert not {feature.name for feature in contract_schema().feature} & set(IMAGE_FEATURES)
    # Features whose values ExampleValidator compares exist under the names of the configuration.
    for thresholds in (DriftThresholds, SkewThresholds):
        everything = thresholds(**dict.fromkeys(thresholds.model_fields, 0.5)).by_feature()
        assert set(everything) == {LABEL, *IMAGE_FEATURES}
