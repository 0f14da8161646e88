"""Every key of `[index]` reaches the node that it is for, and who makes an index when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tfx.dsl.components.common.resolver import RESOLVER_CONFIG
from tfx.proto import example_gen_pb2
from tfx.utils import proto_utils

from components.image_example_gen import read_options
from modules.settings import IndexSettings
from tests.pipeline.test_definition import SPANS, nodes, tables

INDEX = {
    "gallery": "train",
    "kind": "hnsw",
    "storage": "int8",
    "min_recall": 0.9,
    "k": 5,
    "queries": 500,
    "thumbnails": False,
    "seed": 2,
}


def test_every_key_of_index(tmp_path: Path) -> None:
    of_pusher = {"nearest_up_to"}
    apart = {"enabled", "exact_up_to"} | of_pusher  # and `path`: test_a_gallery_of_its_own
    assert INDEX.keys() | apart == IndexSettings.model_fields.keys()
    found = nodes(tmp_path, tables("index", INDEX))
    properties = found["IndexGen"].exec_properties
    assert IndexSettings(**json.loads(properties["settings"])) == IndexSettings(**INDEX)
    resolver = found["PreviousIndexResolver"].exec_properties
    assert resolver[RESOLVER_CONFIG] == {"settings": properties["settings"]}
    assert found["Pusher"].inputs["index"].producer_component_id == "IndexGen"
    auto = nodes(tmp_path, "[index]\nexact_up_to = 7\nnearest_up_to = 9")
    assert json.loads(auto["IndexGen"].exec_properties["settings"]) == {"exact_up_to": 7}
    assert json.loads(auto["Pusher"].exec_properties["custom_config"])["nearest_up_to"] == 9


@pytest.mark.parametrize(("kind", "pattern"), [("images", "**"), ("parquet", "*.parquet")])
def test_a_gallery_of_its_own(tmp_path: Path, kind: str, pattern: str) -> None:
    limits = "max_pixels = 99\nmax_undecodable_fraction = 0.25\n"
    found = nodes(tmp_path, f'{limits}[index]\ngallery = "{kind}"\npath = "/catalogue"\n')
    reads = found["GalleryExampleGen"]
    assert reads.exec_properties["input_base"] == "/catalogue"
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(reads.exec_properties["input_config"], config)
    assert [(split.name, split.pattern) for split in config.splits] == [("gallery", pattern)]
    of_sheets = {} if kind == "images" else {"format": kind, "by_column": False}
    assert dict(read_options(reads.exec_properties)) == {
        "max_pixels": 99, "max_undecodable_fraction": 0.25, **of_sheets,
    }  # fmt: skip
    # After the data were found to be good, and before hours have gone into a model.
    assert [node.id for node in reads.upstream_nodes] == ["ExampleValidator"]
    assert reads in found["Trainer"].upstream_nodes
    assert found["IndexGen"].inputs["examples"].producer_component_id == "GalleryExampleGen"
    assert reads in found["PreviousIndexResolver"].upstream_nodes
    # Where it lies is no matter of the index: its examples are.
    assert json.loads(found["IndexGen"].exec_properties["settings"]) == {"gallery": kind}


def test_a_skipped_run_has_an_index_of_the_served_model_instead(tmp_path: Path) -> None:
    asked = f'{SPANS}[index]\nnearest_up_to = 9\nk = 7\nkind = "ivf"\n[retraining]\n'
    found = nodes(tmp_path, f"{asked}tolerated_drop = 0.02")
    served, index, pusher = (
        found[name] for name in ("ServedIndexResolver", "IndexUpdate", "UpdatePusher")
    )
    for key in ("settings", "background"):
        assert index.exec_properties[key] == found["IndexGen"].exec_properties[key]
    for key in ("push_destination", "custom_config"):
        assert pusher.exec_properties[key] == found["Pusher"].exec_properties[key]
    assert served.exec_properties[RESOLVER_CONFIG] == {
        "settings": index.exec_properties["settings"]
    }
    producers = {key: one.producer_component_id for key, one in index.inputs.items()}
    assert producers == {
        "examples": "WindowResolver",
        **dict.fromkeys(("model", "model_blessing", "previous_index"), "ServedIndexResolver"),
    }
    assert pusher.inputs["index"].producer_component_id == "IndexUpdate"
    assert pusher.inputs["report"].producer_component_id == "ServedIndexResolver"
    update = {"ServedIndexResolver", "IndexUpdate", "UpdatePusher"}
    assert not update & nodes(tmp_path, asked + "alert_after = 2").keys()
    without = f"{SPANS}[index]\nenabled = false\n[retraining]\ntolerated_drop = 0.02"
    assert not update & nodes(tmp_path, without).keys()
    without = f"{SPANS}[report]\nenabled = false\n[retraining]\ntolerated_drop = 0.02"
    assert "report" not in nodes(tmp_path, without)["UpdatePusher"].inputs


def test_without_an_index_the_chain_is_as_before(tmp_path: Path) -> None:
    found = nodes(tmp_path, "[index]\nenabled = false")
    assert not {"IndexGen", "PreviousIndexResolver"} & found.keys()
    assert set(found["Pusher"].inputs) == {"model", "model_blessing", "report"}


def test_thumbnails_have_the_background_of_the_images(tmp_path: Path) -> None:
    found = nodes(tmp_path, '[image]\nbackground = "red"')
    assert found["IndexGen"].exec_properties["background"] == "red"


def test_the_gallery_is_of_the_window(tmp_path: Path) -> None:
    spans = 'pattern = "{SPAN}/*"\nsplit = "hash"\nwindow = 2\nevaluation_span = 1'
    found = nodes(tmp_path, spans)
    assert found["IndexGen"].inputs["examples"].producer_component_id == "WindowResolver"
