"""Thresholds at a k that the gallery makes meaningless."""

from __future__ import annotations

import pytest

from modules.gate.gallery_bounds import describe_meaningless
from tests.gate_cases import eval_config


@pytest.mark.parametrize(
    ("metric", "size", "apart", "refused"),
    [
        ("recall@5", 7, False, False),
        ("recall@5", 6, False, True),  # all 5 neighbours are among the 5 nearest
        ("recall@5", 6, True, False),  # a gallery of its own has 6 for each query
        ("recall@5", 5, True, True),
        ("precision@5", 6, False, True),
        ("precision_capped@5", 6, False, True),
        ("ndcg@5", 6, False, False),  # their order is the model's
        ("ndcg@5", 5, False, True),
        ("map@r", 2, False, False),
        ("tar@far=0.1", 2, False, False),
    ],
)
@pytest.mark.parametrize("threshold", [{"lower": 0.1}, {"max_drop": 0.1}])
def test_a_threshold_tells_models_apart(metric, size, apart, refused, threshold):
    files = ["gallery-*"] if apart else None
    config = eval_config([5], {metric: threshold}, gallery_files=files, verification=True)
    metrics = {"candidate": {"overall": {"gallery_size": float(size), metric: 0.5}}}
    found = [str(one) for one in describe_meaningless(config, metrics)]
    neighbours = size if apart else size - 1
    expected = (
        f"{metric} (overall): its threshold says nothing of the model: k is 5 and a query has "
        f"{neighbours} neighbours in all; take a smaller k or a larger gallery"
    )
    assert found == ([expected] if refused else [])


def test_the_ends_of_an_interval_are_the_same_metric():
    config = eval_config([5], {"recall@5": {"better": True, "no_worse": 0.1}})
    metrics = {"candidate": {"overall": {"gallery_size": 3.0, "recall@5": 1.0}}}
    assert [one.metric for one in describe_meaningless(config, metrics)] == ["recall@5"]
