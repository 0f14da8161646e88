"""Settings whose defaults and limits depend on one another."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modules.settings import TrainingSettings, read_table

TWO = {"distribution": "multi_worker", "workers": 2}


@pytest.mark.parametrize(
    ("given", "margin", "warmup_steps"),
    [
        ({}, 0.2, 0),
        ({"loss": "soft_margin"}, None, 0),
        ({"mining": "hard"}, 0.2, 200),
        ({"mining": "hard", "warmup_steps": 0}, 0.2, 0),
        ({"mining": "hard", "loss": "soft_margin", "swap": True}, None, 200),
        ({"margin": 2.0, "distance": "cosine"}, 2.0, 0),
        ({"loss": "multi_similarity", "memory": 9}, None, 0),
        ({"loss": "proxy_anchor"}, 0.1, 0),
    ],
)
def test_defaults_and_their_way_through_custom_config(given, margin, warmup_steps) -> None:
    settings = TrainingSettings(**given)
    assert (settings.margin, settings.warmup_steps) == (margin, warmup_steps)
    assert settings.model_fields_set == given.keys()
    # The node receives every key, set or not, and checks them again.
    table = {"training": settings.model_dump(mode="json")}
    assert read_table(table, "training", TrainingSettings) == settings


@pytest.mark.parametrize(
    ("custom_config", "message"),
    [
        (None, r"custom_config has no table 'training', only \[\]\. Pass TrainingSettings"),
        ({"image": {}}, r"custom_config has no table 'training', only \['image'\]"),
        (
            {"training": {"stepz": 1, "seed": -1}},
            r"custom_config\['training'\]: seed \(found -1\): .*; stepz \(found 1\): Extra inputs",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_named(custom_config, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(custom_config, "training", TrainingSettings)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"warmup_steps": 10}, "warmup_steps has no effect with mining = 'semi_hard'"),
        ({"mining": "hard", "steps": 200}, "hard mining would never begin: warmup_steps is 200"),
        ({"mining": "hard", "warmup_steps": -1}, "greater than or equal to 0"),
        ({"loss": "soft_margin", "margin": 0.2}, "margin has no effect"),
        ({"mining": "easy_positive", "swap": True}, "swap makes no sense"),
        (
            {"loss": "multi_similarity", "mining": "hard"},
            r"mining has no effect with loss = 'multi_similarity', which chooses pairs by itself "
            r"\(epsilon\); remove it, or set loss to 'margin' or 'soft_margin'",
        ),
        (
            {"loss": "supervised_contrastive", "margin": 0.1},
            "margin has no effect with .*; remove it, or set loss to 'margin' or 'proxy_anchor'",
        ),
        ({"loss": "proxy_anchor", "distance": "squared_l2"}, "distance has no effect"),
        ({"loss": "proxy_anchor", "margin": 1.5}, "no cosine is greater than 1"),
        ({"loss": "proxy_anchor", "memory": 100}, "memory has no effect with loss = 'proxy_anch"),
        ({"loss": "multi_similarity", "swap": True}, "swap has no effect"),
        ({"loss": "multi_similarity", "warmup_steps": 5}, "no effect with loss = 'multi_simil"),
        ({"alpha": 2.0}, "alpha has no effect with loss = 'margin'; remove it, or set loss to 'mu"),
        ({"loss": "multi_similarity", "temperature": 0.1}, "temperature has no effect"),
        ({"temperature": 0.0, "loss": "supervised_contrastive"}, "greater than 0"),
        ({"memory_from_step": 5}, "memory_from_step has no effect with memory = 0; raise memory"),
        ({"memory": 5, "memory_from_step": 9, "steps": 9}, "the memory would never count"),
        ({"mining": "none", "memory": 5}, "memory has no effect with mining = 'none'"),
        ({"mining": "all", "swap": True, "memory": 5}, "swap cannot be used with memory"),
        ({"workers": 2}, "workers has no effect with distribution = 'one'; set distribution"),
        ({"distribution": "multi_worker"}, "needs workers, the number of machines"),
        (TWO | {"workers": 1}, "greater than or equal to 2"),
        (TWO | {"minutes": 5.0}, "the clocks of several machines .*; set steps instead"),
        # 97 = 2 · 48 + 1
        (TWO | {"batch_size": 97}, "batch_size = 97 images cannot .* by 2 workers; 96 or 98"),
        (
            TWO | {"batches": "classes", "classes_per_batch": 7, "images_per_class": 3},
            "classes_per_batch × images_per_class = 21 images cannot be shared .*; 20 or 22 could",
        ),
    ],
)
def test_keys_without_effect_or_sense_are_refused(given, message) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**given)
