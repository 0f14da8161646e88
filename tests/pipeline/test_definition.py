"""Every key of the configuration that a node is told reaches that node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from tensorflow_model_analysis.proto import config_pb2
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import RESOLVER_CONFIG
from tfx.proto import example_gen_pb2
from tfx.utils import proto_utils

from components.image_example_gen import read_options
from modules.gate import make_eval_config
from modules.report import PAGE_FOLDER
from modules.settings import (
    AuditSettings,
    EvaluationSettings,
    ImageTable,
    ReportSettings,
    TripletSettings,
)
from pipeline.config import load_config
from pipeline.definition import create_pipeline
from pipeline.fingerprint import folder_fingerprint

MINIMAL = '[pipeline]\nname = "mine"\n[data]\npath = "photos"\n'
# Of every key a value that is not the default.
TRIPLETS = {
    "strategy": "hard",
    "positives": "hard",
    "triplets_per_anchor": 4,
    "max_per_class": 7,
    "seed": 3,
    "bucket_size": 123,
    "buckets": "neighbourhood",
    "skip_nearest": 2,
    "nearest": 5,
    "least_ratio": 0.5,
    "suspects": "keep",
    "validation": "classes",
    "validation_fraction": 0.25,
    "validation_images": 77,
    "rounds_on_same_data": 4,
}
EVALUATION = {
    "ks": [1, 3],
    "slice_by": ["label", "camera"],
    "gallery_split": "train",
    "exclude_same": ["sequence"],
    "verification": True,
    "false_accept_rate": 0.125,
    "max_threshold_shift": 0.5,
    "clustering": True,
    "confidence": "jackknife",
    "change_level": 0.9,
    "thresholds": {
        "precision@3": {"lower": 0.25, "max_drop": 0.125},
        "eer": {"upper": 0.75, "max_relative_drop": 0.5},
        "nmi": {"lower": 0.5},
    },
    "slice_thresholds": {"camera": {"map@r": {"max_drop": 0.0625}}},
}


def nodes(folder: Path, text: str) -> dict[str, BaseNode]:
    """The nodes by id."""
    file = folder / "config.toml"
    file.write_text(MINIMAL + text)
    return {node.id: node for node in create_pipeline(load_config(str(file))).components}


def tables(name: str, values: dict) -> str:
    """TOML of a table, tables in it included."""
    lines, below = [f"[{name}]"], []
    for key, value in values.items():
        if isinstance(value, dict):
            below.append(tables(f'{name}."{key}"', value))
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*lines, *below])


def test_every_key_of_triplets(tmp_path: Path) -> None:
    assert TRIPLETS.keys() == TripletSettings.model_fields.keys()
    found = nodes(tmp_path, tables("triplets", TRIPLETS))
    properties = found["TripletGen"].exec_properties
    expected = dict(TRIPLETS)
    rounds = expected.pop("rounds_on_same_data")
    assert {key: properties[key] for key in expected} == expected
    resolver = found["PreviousModelResolver"].exec_properties
    assert resolver[RESOLVER_CONFIG] == {"rounds_on_same_data": rounds}
    assert found["TripletGen"].inputs["model"] is not None


def test_several_triplets_per_anchor(tmp_path: Path) -> None:
    """Not with hard positives, so the test of all keys cannot have it."""
    found = nodes(tmp_path, "[triplets]\ntriplets_per_anchor = 5")
    assert found["TripletGen"].exec_properties["triplets_per_anchor"] == 5
    assert "PreviousModelResolver" not in found  # nothing is mined


def test_every_key_of_image(tmp_path: Path) -> None:
    given = {"height": 30, "width": 40, "channels": 3, "fit": "crop", "background": "red"}
    assert given.keys() == ImageTable.model_fields.keys()
    node = nodes(tmp_path, "max_pixels = 999\n" + tables("image", given))["Transform"]
    found = json.loads(node.exec_properties["custom_config"])
    assert found == {"image": given, "max_pixels": 999}
    assert "statistics" not in node.inputs  # nothing is chosen, so other statistics change nothing


def test_what_is_not_given_is_chosen_by_statistics_and_the_limits_of_the_network(tmp_path) -> None:
    node = nodes(tmp_path, '[image]\nwidth = 40\n[model]\nname = "resnet50_v2"')["Transform"]
    assert json.loads(node.exec_properties["custom_config"]) == {
        "image": {
            "height": None,
            "width": 40,
            "channels": None,
            "fit": "letterbox",
            "background": "white",
        },
        "image_limits": {"least": 32, "most": 96},
        "max_pixels": 50_000_000,
    }
    assert node.inputs["statistics"].producer_component_id == "StatisticsGen"


@pytest.mark.parametrize(
    ("data", "by_column", "splits"),
    [
        ("", True, {"all": "*.csv"}),
        ('train = "a.csv"\neval = "b.csv"', False, {"train": "a.csv", "eval": "b.csv"}),
        ('split = "class_disjoint"\npattern = "a.csv"', False, {"all": "a.csv"}),
    ],
)
def test_a_sheet_is_read_by_a_node_of_its_own(tmp_path: Path, data, by_column, splits) -> None:
    keys = f'format = "csv"\nmax_pixels = 77\nmax_undecodable_fraction = 0.25\n{data}'
    found = nodes(tmp_path, keys)
    properties = found["SheetExampleGen"].exec_properties
    assert dict(read_options(properties)) == {
        "format": "csv",
        "max_pixels": 77,
        "max_undecodable_fraction": 0.25,
        "by_column": by_column,
    }
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(properties["input_config"], config)
    assert {split.name: split.pattern for split in config.splits} == splits
    # Further columns need no schema, unless the schema is one's own.
    assert found["ExampleValidator"].exec_properties["further_features"] == 1
    (tmp_path / "schema.pbtxt").touch()
    own = nodes(tmp_path, f'{keys}\nschema_file = "{tmp_path}/schema.pbtxt"')
    assert own["ExampleValidator"].exec_properties["further_features"] == 0
    assert nodes(tmp_path, "")["ExampleValidator"].exec_properties["further_features"] == 0


def test_eval_needs_pairs_only_where_its_queries_search_in_it(tmp_path) -> None:
    def asked(text: str) -> int:
        return nodes(tmp_path, text)["ExampleValidator"].exec_properties["eval_is_gallery"]

    assert asked("") == 1
    assert asked('[evaluation]\ngallery_split = "train"') == 0
    assert asked('split = "hash"\npattern = "{SPAN}/*"') == 0


@pytest.mark.parametrize(
    ("form", "node"),
    [("images", "ImageExampleGen"), ("csv", "SheetExampleGen"), ("tfrecord", "ImportExampleGen")],
)
def test_distractors_reach_the_node_that_reads_and_no_statistics(tmp_path, form, node) -> None:
    found = nodes(tmp_path, f'format = "{form}"\ndistractors = ["junk", "background"]')
    options = read_options(found[node].exec_properties)
    assert list(options["distractors"]) == ["background", "junk"]
    assert json.loads(found["StatisticsGen"].exec_properties["exclude_splits"]) == ["distractors"]
    without = nodes(tmp_path, f'format = "{form}"')
    assert "distractors" not in read_options(without[node].exec_properties)
    assert json.loads(without["StatisticsGen"].exec_properties["exclude_splits"]) == []


def test_every_key_of_evaluation(tmp_path: Path) -> None:
    assert EVALUATION.keys() == EvaluationSettings.model_fields.keys()
    text = 'schema_file = "inferred"\n' + tables("evaluation", EVALUATION)
    properties = nodes(tmp_path, text)["Evaluator"].exec_properties
    assert properties["gallery_split"] == "train"
    assert properties["max_threshold_shift"] == 0.5
    configured = config_pb2.EvalConfig()
    proto_utils.json_to_proto(properties["eval_config"], configured)
    assert configured == make_eval_config(EvaluationSettings(**EVALUATION))
    # Nor do that function and the configuration both leave something out.
    written = json_format.MessageToDict(configured, preserving_proto_field_name=True)
    (specs,) = written["metrics_specs"]
    metric, changes, of_pairs = specs["metrics"]
    assert of_pairs["class_name"] == "OperatingPointMetrics"
    assert json.loads(changes["config"]) == {"ks": [1, 3], "level": 0.9}
    assert json.loads(metric["config"]) == {
        "ks": [1, 3],
        "verification": True,
        "clustering": True,
        "gallery_files": None,
        "exclude_same": ["sequence"],
        "false_accept_rate": 0.125,
    }
    assert written["slicing_specs"] == [
        {},
        {"feature_keys": ["label"]},
        {"feature_keys": ["camera"]},
    ]
    assert written["options"]["confidence_intervals"] == {"method": "JACKKNIFE"}
    bound = {
        name: [
            (
                slices["slicing_specs"],
                slices["threshold"]["value_threshold"].get("lower_bound"),
                slices["threshold"]["value_threshold"].get("upper_bound"),
                slices["threshold"].get("change_threshold", {}).get("absolute"),
                slices["threshold"].get("change_threshold", {}).get("relative"),
            )
            for slices in thresholds["thresholds"]
        ]
        for name, thresholds in specs["per_slice_thresholds"].items()
    }
    # Drops carry an allowance for rounding.
    about = pytest.approx
    assert bound["precision@3"] == [([{}], 0.25, None, about(-0.125, abs=1e-8), None)]
    assert bound["eer"] == [([{}], "-Infinity", 0.75, None, about(0.5, abs=1e-8))]
    assert bound["nmi"] == [([{}], 0.5, None, None, None)]
    assert bound["map@r"] == [
        ([{"feature_keys": ["camera"]}], "-Infinity", None, about(-0.0625, abs=1e-8), None)
    ]


SPANS = 'split = "hash"\npattern = "{SPAN}/*"\n'


def test_every_key_that_a_decision_about_training_goes_by(tmp_path: Path) -> None:
    asked = "[retraining]\ntolerated_drop = 0.02\nmax_skips = 4\n"
    evaluation = '[evaluation]\nchange_level = 0.9\ngallery_split = "train"\n'
    properties = nodes(tmp_path, SPANS + asked + evaluation)["TrainingDecision"].exec_properties
    assert (properties["tolerated_drop"], properties["max_skips"]) == (0.02, 4)
    assert (properties["level"], properties["gallery_split"]) == (0.9, "train")
    cameras = f'format = "csv"\n{SPANS}{asked}[evaluation]\nexclude_same = ["camera"]\n'
    properties = nodes(tmp_path, cameras)["TrainingDecision"].exec_properties
    assert json.loads(properties["exclude_same"]) == ["camera"]
    assert "TrainingDecision" not in nodes(tmp_path, SPANS)


def test_the_recipe_is_of_all_that_a_model_depends_on(tmp_path: Path) -> None:
    asked = "[retraining]\ntolerated_drop = 0.02\n"

    def recipe(text: str) -> str:
        found = nodes(tmp_path, SPANS + text)
        of_trainer = found["Trainer"].exec_properties["recipe"]
        resolver = found.get("ServedModelResolver")
        if resolver:
            assert resolver.exec_properties[RESOLVER_CONFIG] == {"recipe": of_trainer}
        return of_trainer

    before = recipe(asked)
    # Known from the first run on, and the same whatever is not a matter of training.
    assert recipe("") == before
    assert recipe("[evaluation]\nks = [1]\n") == before
    changed = {
        recipe(asked + text)
        for text in (
            "[training]\nsteps = 7\n", "[triplets]\nseed = 3\n", "[image]\nheight = 30\n",
            "[model]\nembedding_size = 32\n",
        )
    }  # fmt: skip
    changed.add(recipe(f"window = 3\n{asked}"))
    assert len(changed | {before}) == 6


def test_every_key_of_report(tmp_path: Path) -> None:
    given = {"neighbours": 3, "map_images": 70}
    assert given.keys() | {"enabled"} == ReportSettings.model_fields.keys()
    found = nodes(tmp_path, tables("report", given) + "\n" + tables("evaluation", {"ks": [1, 2]}))
    properties = found["ReportGen"].exec_properties
    assert ReportSettings(**json.loads(properties["settings"])) == ReportSettings(**given)
    assert found["Evaluator"].exec_properties["kept_neighbours"] == 3
    shown = json.loads(properties["tables"])
    assert shown["evaluation"] == {"ks": [1, 2]}
    assert shown["data"]["path"].endswith("photos")
    assert properties["page_fingerprint"] == folder_fingerprint(str(PAGE_FOLDER))
    assert found["Pusher"].inputs["report"].producer_component_id == "ReportGen"
    found = nodes(tmp_path, "[report]\nenabled = false")
    assert "ReportGen" not in found
    assert "report" not in found["Pusher"].inputs
    assert found["Evaluator"].exec_properties["kept_neighbours"] is None


def test_every_key_of_audit(tmp_path: Path) -> None:
    given = {
        "max_leaked": 0.25, "max_conflicting": 0.125, "max_copies": 0.5, "max_near_leaked": 0.75,
        "model_images": 77, "listed": 7,
    }  # fmt: skip
    assert given.keys() | {"enabled", "use_model"} == AuditSettings.model_fields.keys()
    found = nodes(tmp_path, tables("audit", given) + '\n[image]\nbackground = "red"')
    properties = found["DataAudit"].exec_properties
    told = json.loads(properties["settings"])
    assert told == {**given, "enabled": True, "use_model": True}
    assert properties["background"] == "red"
    assert found["DataAudit"].inputs["model"].producer_component_id == "AuditModelResolver"
    assert found["DataAudit"].inputs["examples"].producer_component_id == "ImportExampleGen"
    # Nothing is learned before it has ended; Transform and TripletGen run beside it.
    upstream = {name: {one.id for one in found[name].upstream_nodes} for name in found}
    assert "DataAudit" in upstream["Trainer"]
    assert not any("DataAudit" in upstream[name] for name in ("Transform", "TripletGen"))
    alone = nodes(tmp_path, "[audit]\nuse_model = false")
    assert "AuditModelResolver" not in alone
    assert "model" not in alone["DataAudit"].inputs
    assert (
        not {"AuditModelResolver", "DataAudit"} & nodes(tmp_path, "[audit]\nenabled = false").keys()
    )


def test_suspects_are_an_input_of_triplet_gen_only_where_they_have_an_effect(tmp_path) -> None:
    def audit_of(text: str) -> tuple[bool, str | None]:
        found = nodes(tmp_path, text)
        audit = found["DataAudit"].inputs.get("model")
        return "audit" in found["TripletGen"].inputs, audit and audit.producer_component_id

    assert audit_of("") == (False, "AuditModelResolver")
    # The model that mines looks at the labels too.
    mined = '[triplets]\nstrategy = "hard"\n'
    assert audit_of(mined) == (True, "PreviousModelResolver")
    assert audit_of(f'{mined}suspects = "keep"') == (False, "PreviousModelResolver")


def test_spans_are_audited_with_the_images_they_are_evaluated_on(tmp_path) -> None:
    keys = 'split = "hash"\npattern = "{SPAN}/*"\nevaluation_span = 1'
    found = nodes(tmp_path, keys)["DataAudit"].inputs
    assert found["examples"].producer_component_id == "WindowResolver"
    assert found["evaluated"].producer_component_id == "EvaluationResolver"


def test_the_file_of_corrections(tmp_path: Path) -> None:
    node = nodes(tmp_path, 'corrections = "/fixes.csv"')["ImportExampleGen"]
    assert read_options(node.exec_properties)["corrections"] == "/fixes.csv"
