"""The component: its parameters, and what it refuses."""

from __future__ import annotations

import pytest
from tfx import types
from tfx.orchestration import data_types
from tfx.types import standard_artifacts

from components.triplet_gen import TripletGen
from modules.settings import TripletSettings
from tests.components.triplet_gen.triplet_node import make
from tests.real_data import digits, examples_artifact


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {"triplets_per_anchor": 0},
            "TripletGen: triplets_per_anchor .found 0.: .* or equal to 1",
        ),
        ({"bucket_size": 1}, "TripletGen: bucket_size .found 1.: .* greater than or equal to 2"),
        ({"max_per_class": -1}, "max_per_class .found -1.: .* greater than or equal to 0"),
        (
            {"strategy": "easy"},
            "strategy .found 'easy'.: .*'random', 'class_balanced', ",
        ),
        (
            {"positives": "semi_hard"},
            "positives .found 'semi_hard'.: .*'random' or 'hard'",
        ),
        (
            {"strategy": "hard", "positives": "hard", "triplets_per_anchor": 2},
            "only the negatives of an anchor differ, among nearest = 1, so triplets_per_anchor = 2 "
            "would repeat some. Set nearest = 2, triplets_per_anchor = 1 or positives = 'random'",
        ),
        ({"nearest": 2}, "nearest = 2 has no effect with strategy = 'random': set strategy to"),
        (
            {"skip_nearest": 1, "strategy": "class_balanced"},
            "skip_nearest = 1 has no effect with strategy = 'class_balanced'.* or remove skip_",
        ),
        ({"least_ratio": 0.5, "positives": "hard"}, "least_ratio = 0.5 has no effect with strat"),
        (
            {"least_ratio": 1.0, "strategy": "semi_hard"},
            "least_ratio = 1.0 has no effect .*Set strategy = 'hard', or least_ratio above 1",
        ),
        ({"buckets": "classes"}, "buckets .found 'classes'.: .*'hash' or 'neighbourhood'"),
        ({"validation": "eval"}, "validation .found 'eval'.: .*'auto', 'images' or 'classes'"),
        ({"validation_fraction": 0.0}, "validation_fraction .found 0.0.: .* greater than 0"),
        ({"validation_fraction": 0.6}, "validation_fraction .found 0.6.: .* equal to 0.5"),
        ({"validation_images": 1}, "validation_images .found 1.: .* equal to 2"),
        (
            {"eval_split": "train"},
            "train_split is 'train' and eval_split is 'train', but they must be",
        ),
        ({"train_split": ""}, "train_split is '' .* the names of two splits"),
    ],
)
def test_settings_out_of_range_are_errors_of_constructor_and_executor(
    tmp_path, properties, message
):
    channel = types.Channel(type=standard_artifacts.Examples)
    with pytest.raises(ValueError, match=message):
        TripletGen(channel, **properties)
    examples = examples_artifact(tmp_path / "examples", {"train": digits(2)})
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, **properties)


def test_component_passes_its_settings_on():
    channel = types.Channel(type=standard_artifacts.Examples)
    seed = data_types.RuntimeParameter(name="seed", ptype=int, default=3)
    node = TripletGen(channel, triplets_per_anchor=2, seed=seed, train_split="a")
    assert node.exec_properties["triplets_per_anchor"] == 2
    assert node.exec_properties["bucket_size"] == 4096
    assert node.exec_properties["seed"] is seed
    assert node.exec_properties["strategy"] == node.exec_properties["positives"] == "random"
    assert node.exec_properties["max_per_class"] == 0
    assert node.exec_properties["train_split"] == "a"
    assert node.exec_properties["eval_split"] == "eval"
    defaults = TripletSettings().model_dump(exclude={"rounds_on_same_data"})
    assert TripletGen(channel).exec_properties.items() >= defaults.items()
    assert node.outputs["triplets"].type is standard_artifacts.Examples


def test_component_takes_a_model():
    examples = types.Channel(type=standard_artifacts.Examples)
    model = types.Channel(type=standard_artifacts.Model)
    node = TripletGen(examples, model=model, strategy="hard")
    assert node.inputs["model"] is model
    assert "model" not in TripletGen(examples, strategy="hard").inputs
