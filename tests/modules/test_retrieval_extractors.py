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
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from modules import retrieval_extractors
from modules.contract import FEATURES, IMAGE, make_example
from modules.evaluator import make_eval_config
from modules.retrieval import COUNTS, make_gallery, score_names, score_queries
from modules.retrieval_extractors import ExtractEmbeddings, ExtractRetrievalScores
from tests.real_data import BEAM_ARGS, digits

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
    config = make_eval_config(KS)
    config.model_specs[0].inference_batch_size = 8
    shared = tfma.default_eval_shared_model(path, eval_config=config)
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        extracts = (
            pipeline | beam.Create(batches) | ExtractEmbeddings([shared], config, FEATURES[1:])
        )
        assert_that(extracts, check)


def test_rows_are_gathered_into_batches_and_images_end(model):
    def check(extracts):
        assert [len(extract["features"]["id"]) for extract in extracts] == [8, 8, 8, 6]
        wanted = {row[2]: (row[1], tf.io.decode_png(row[0])[14, :, 0].numpy()) for row in ROWS}
        for extract in extracts:
            assert extract.keys() == {"features", "predictions"}
            assert extract["features"].keys() == {"id", "label"}
            for example_id, label, embedding in zip(
                *(extract["features"][name] for name in ("id", "label")),
                extract["predictions"],
                strict=True,
            ):
                expected_label, expected_embedding = wanted.pop(example_id)
                assert label == expected_label
                np.testing.assert_array_equal(embedding, expected_embedding)
        assert not wanted

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


def embedded(cuts: list[int], models: list[str]) -> list[dict]:
    """40 rows of 3 labels, with embeddings of each model, as batches cut at `cuts`."""
    rng = np.random.default_rng(0)
    ids = np.array([b"%02d" % i for i in rng.permutation(40)], dtype=object)
    labels = rng.choice(np.array([b"x", b"y", b"z"], dtype=object), 40)
    embeddings = {name: rng.integers(0, 4, (40, 3)).astype(np.float32) for name in models}
    bounds = [0, *sorted(cuts), 40]
    return [
        {
            "features": {"id": ids[a:b], "label": labels[a:b], "camera": ids[a:b] + b"!"},
            "predictions": {name: rows[a:b] for name, rows in embeddings.items()}
            if len(models) > 1
            else embeddings[models[0]][a:b],
        }
        for a, b in itertools.pairwise(bounds)
        if a < b
    ]


def score(batches: list[dict], check: Callable[[list], None], query_block: int = 1024) -> None:
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        extracts = pipeline | beam.Create(batches) | ExtractRetrievalScores(KS, query_block)
        assert_that(extracts, check)


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.integers(1, 39), max_size=6, unique=True),
    st.sampled_from([["a"], ["a", "b"]]),
    st.integers(1, 41),
)
def test_scores_do_not_depend_on_batches_or_blocks(cuts, models, query_block):
    (whole,) = embedded([], models)
    features, predictions = whole["features"], whole["predictions"]

    def check(extracts):
        assert {len(extract["features"]["id"]) for extract in extracts[:-1]} <= {query_block}
        ids = np.concatenate([extract["features"]["id"] for extract in extracts])
        assert sorted(ids) == sorted(features["id"])
        assert all(
            (extract["features"]["camera"] == extract["features"]["id"] + b"!").all()
            for extract in extracts
        )
        for model in models:
            embeddings = predictions[model] if len(models) > 1 else predictions
            gallery = make_gallery(features["id"], features["label"], embeddings)
            expected = score_queries(gallery, KS)
            rows = np.concatenate(
                [
                    extract["predictions"][model] if len(models) > 1 else extract["predictions"]
                    for extract in extracts
                ]
            )
            for column, name in enumerate([*score_names(KS), *COUNTS]):
                np.testing.assert_array_equal(rows[np.argsort(ids), column], expected[name])

    score(embedded(cuts, models), check, query_block)


def test_the_gallery_is_built_once_for_all_blocks(monkeypatch):
    built = []

    def counted(*arguments):
        built.append(len(arguments[0]))
        return make_gallery(*arguments)

    monkeypatch.setattr(retrieval_extractors, "make_gallery", counted)
    score(embedded([10, 20], ["a"]), lambda extracts: None, query_block=4)
    assert built == [40]


def test_a_repeated_id_is_named():
    batches = embedded([20], ["a"])
    batches[0]["features"]["id"][0] = batches[1]["features"]["id"][0] = b"twice"
    with pytest.raises(Exception, match=r"id b'twice' occurs more than once"):
        score(batches, lambda extracts: None)


def test_an_empty_split_is_an_error():
    with pytest.raises(Exception, match="the evaluated split has no examples"):
        score([], lambda extracts: None)
