"""The Beam transforms between TFX's examples and TFMA's metrics, in a real pipeline."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.testing.util import assert_that, equal_to
from tfx.types import artifact_utils

from modules.contract import FEATURES, IMAGE, make_example
from modules.retrieval import COUNTS, score_names
from modules.retrieval.extractors import (
    SCORES_KEY,
    SET_KEY,
    EmbedGallery,
    ExtractEmbeddings,
    ExtractRetrievalScores,
)
from tests.gate_cases import eval_config
from tests.real_data import BEAM_ARGS, digits, examples_artifact
from tests.retrieval_oracle import Rows, brute_force, set_metrics

ROWS = digits(3)
KS = [1, 5]


class Pixels(tf.Module):
    """The middle row of the image, under the output names it is asked for."""

    def __init__(self, *outputs: str) -> None:
        super().__init__()
        self.outputs = outputs

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        parsed = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        images = tf.map_fn(tf.io.decode_png, parsed[IMAGE], fn_output_signature=tf.uint8)
        row = tf.cast(tf.ensure_shape(images, [None, 28, 28, 1])[:, 14, :, 0], tf.float32)
        return dict.fromkeys(self.outputs, row)


def save(folder, *outputs: str) -> str:
    module = Pixels(*outputs)
    tf.saved_model.save(module, str(folder), {"serving_default": module.serve})
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save(tmp_path_factory.mktemp("model"), "embedding", "other")


def record_batch(rows) -> dict:
    """Rows as TFX hands them to TFMA."""
    columns = {name: [[row[i]] for row in rows] for i, name in enumerate(("image", "label", "id"))}
    columns["__raw_record__"] = [[make_example(*row).SerializeToString()] for row in rows]
    return {"arrow_record_batch": pa.RecordBatch.from_pydict(columns)}


def embed(batches: list[dict], path: str, check: Callable[[list], None]) -> None:
    config = eval_config(KS)
    config.model_specs[0].inference_batch_size = 8
    shared = tfma.default_eval_shared_model(path, eval_config=config)
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        extracts = (
            pipeline | beam.Create(batches) | ExtractEmbeddings([shared], config, FEATURES[1:])
        )
        assert_that(extracts, check)


def test_a_process_loads_a_model_once(model, monkeypatch):
    """However many bundles and threads there are."""
    loaded = []
    load = tf.compat.v1.saved_model.load_v2

    def counted(path, *args, **kwargs):
        loaded.append(path)
        return load(path, *args, **kwargs)

    monkeypatch.setattr(tf.compat.v1.saved_model, "load_v2", counted)
    shared = tfma.default_eval_shared_model(model, eval_config=eval_config(KS))
    args = [*BEAM_ARGS, "--direct_running_mode=multi_threading", "--direct_num_workers=2"]
    with beam.Pipeline(argv=args) as pipeline:
        extracts = (
            pipeline
            | beam.Create([record_batch([row]) for row in ROWS])
            | beam.Reshuffle()
            | ExtractEmbeddings([shared], eval_config(KS), FEATURES[1:])
            | beam.FlatMap(lambda extract: extract["features"]["id"].tolist())
        )
        assert_that(extracts, equal_to([row[2] for row in ROWS]))
    assert loaded == [model]


def check_embedded_once(extracts):
    """Each of `ROWS` is there once, with its label and its embedding."""
    wanted = {row[2]: (row[1], tf.io.decode_png(row[0])[14, :, 0].numpy()) for row in ROWS}
    for extract in extracts:
        for example_id, label, embedding in zip(
            *(extract["features"][name] for name in ("id", "label")),
            extract["predictions"],
            strict=True,
        ):
            expected_label, expected_embedding = wanted.pop(example_id)
            assert label == expected_label
            np.testing.assert_array_equal(embedding, expected_embedding)
    assert not wanted


def test_rows_are_gathered_into_batches_and_images_end(model):
    def check(extracts):
        assert [len(extract["features"]["id"]) for extract in extracts] == [8, 8, 8, 6]
        for extract in extracts:
            assert extract.keys() == {"features", "predictions"}
            assert extract["features"].keys() == {"id", "label"}
        check_embedded_once(extracts)

    # TFXIO begins with batches of 1, 1, 2, 4, … rows.
    embed([record_batch(ROWS[a:b]) for a, b in ((0, 1), (1, 2), (2, 4), (4, 30))], model, check)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (None, r"no feature 'id', .* there are \['__raw_record__', 'image', 'label'\]"),
        ([[b"a"], None], "'id' must have exactly one value in every .* one has 0"),
        ([[b"a"], []], "'id' must have exactly one value in every .* one has 0"),
        ([[b"a"], [b"b", b"c"]], "'id' must have exactly one value in every .* one has 2"),
    ],
)
def test_a_feature_that_is_not_single_is_named(model, ids, message):
    batch = record_batch(ROWS[:2])["arrow_record_batch"].drop_columns(["id"])
    if ids is not None:
        batch = batch.append_column("id", pa.array(ids))
    with pytest.raises(Exception, match=message):
        embed([{"arrow_record_batch": batch}], model, lambda extracts: None)


def test_a_model_without_the_output_is_named(tmp_path):
    path = save(tmp_path / "model", "vector")
    with pytest.raises(Exception, match=r"candidate model must return 'embedding' .*'vector': \(2"):
        embed([record_batch(ROWS[:2])], path, lambda extracts: None)


def test_a_model_without_the_signature_is_named(tmp_path):
    module = Pixels("embedding")
    tf.saved_model.save(module, str(tmp_path), {"images": module.serve})
    with pytest.raises(Exception, match=r"no signature 'serving_default', only \['images'\]"):
        embed([record_batch(ROWS[:2])], str(tmp_path), lambda extracts: None)


def embedded(rows: Rows, cuts: list[int], models: list[str]) -> list[dict]:
    """Rows as `ExtractEmbeddings` would give them, in batches cut at `cuts`."""
    ids, labels = np.array(rows.ids, object), np.array(rows.labels, object)
    bounds = [0, *sorted(cuts), len(ids)]
    return [
        {
            "features": {"id": ids[a:b], "label": labels[a:b], "camera": ids[a:b] + b"!"},
            "predictions": {name: rows.embeddings[a:b] * (i + 1) for i, name in enumerate(models)}
            if len(models) > 1
            else rows.embeddings[a:b].astype(np.float64),
        }
        for a, b in itertools.pairwise(bounds)
        if a < b
    ]


def some_rows(seed: int, n: int) -> Rows:
    rng = np.random.default_rng(seed)
    ids = [b"%02d" % i for i in rng.permutation(60)[:n]]
    labels = rng.choice(np.array([b"x", b"y", b"z"], dtype=object), n)
    return Rows(ids, labels.tolist(), rng.integers(0, 4, (n, 3)).astype(np.float32))


def score(batches: list[dict], transform: beam.PTransform, check: Callable[[list], None]) -> None:
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        assert_that(pipeline | beam.Create(batches) | transform, check)


@pytest.mark.parametrize(
    ("cuts", "models", "two_sets"),
    [([], ["a"], False), ([5, 30], ["a", "b"], False), ([20], ["a", "b"], True)],
)
def test_one_extract_per_query_and_one_for_all(cuts, models, two_sets):
    queries = some_rows(0, 40)
    gallery = some_rows(1, 25) if two_sets else queries
    expected = brute_force(*queries, KS, gallery)
    names = [*score_names(KS), *COUNTS]

    def check(extracts):
        *of_queries, of_set = sorted(extracts, key=lambda extract: SET_KEY in extract)
        assert of_set["features"] == {}
        assert of_set[SET_KEY].queries == 40
        for i, model in enumerate(models if len(models) > 1 else [""]):
            spread = (i + 1) ** 2 * set_metrics(queries.embeddings)["spread"]
            metrics = of_set[SET_KEY].by_model[model]
            assert metrics["spread"] == pytest.approx(spread)
            assert ("nmi" in metrics, "eer" in metrics) == (two_sets, two_sets)
        assert len(of_queries) == 40
        for extract in of_queries:
            features = {name: value.tolist() for name, value in extract["features"].items()}
            (query,) = features["id"]
            label = queries.labels[queries.ids.index(query)]
            assert features == {"id": [query], "label": [label], "camera": [query + b"!"]}
            assert extract[SCORES_KEY].keys() == (set(models) if len(models) > 1 else {""})
            for scores in extract[SCORES_KEY].values():
                row = dict(zip(names, scores, strict=True))
                assert row["map@r"] == pytest.approx(expected[query]["map@r"], abs=1e-12)
                assert row["mrr"] == pytest.approx(expected[query]["mrr"], abs=1e-12)

    transform = ExtractRetrievalScores(
        KS,
        verification=two_sets,
        clustering=two_sets,
        gallery=beam.Create(embedded(gallery, [7], models)) if two_sets else None,
    )
    score(embedded(queries, cuts, models), transform, check)


def test_a_repeated_id_is_named():
    rows = some_rows(0, 40)
    twice = rows._replace(ids=[rows.ids[-1], *rows.ids[1:]])
    with pytest.raises(Exception, match=r"id b'\d+' occurs more than once"):
        score(embedded(twice, [20], ["a"]), ExtractRetrievalScores(KS), lambda extracts: None)


def test_a_gallery_is_read_from_files_and_embedded(model, tmp_path):
    artifact = examples_artifact(tmp_path, {"gallery": ROWS}, shards=3)
    folder = artifact_utils.get_split_uri([artifact], "gallery")
    config = eval_config(KS)
    shared = tfma.default_eval_shared_model(model, eval_config=config)
    patterns = [f"{folder}/*-0000[01]-*.gz", f"{folder}/*-00002-*.gz"]

    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        assert_that(pipeline | EmbedGallery(patterns, [shared], config), check_embedded_once)


def test_a_gallery_pattern_without_files_is_named(tmp_path):
    pipeline = beam.Pipeline(argv=BEAM_ARGS)
    with pytest.raises(ValueError, match=r"gallery_files: no file matches '.*/none-\*'"):
        _ = pipeline | EmbedGallery([f"{tmp_path}/none-*"], [], eval_config(KS))
