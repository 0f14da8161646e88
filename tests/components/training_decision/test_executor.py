"""The decision on real digits, by a model whose distances are exact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.training_decision import Decision
from components.training_decision.executor import Executor
from tests.components.triplet_gen.triplet_models import model_artifact
from tests.real_data import Row, digits, examples_artifact

DEFAULTS = {"tolerated_drop": 0.5, "max_skips": 3, "level": 0.95, "exclude_same": "[]"}


class Node:
    """The node with a model and its two spans of the past."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.model = model_artifact(root / "model")
        self.model.id = 17
        self.reference = [self.span(1, digits(12)), self.span(2, digits(12, start=12))]

    def span(self, number: int, rows: list[Row], **further: list[Row]):
        """A third of the rows is for evaluation; ids differ from span to span."""
        named = [(image, label, b"%d/" % number + id_) for image, label, id_ in rows]
        splits = {"train": [r for i, r in enumerate(named) if i % 3], "eval": named[::3], **further}
        artifact = examples_artifact(self.root / f"span-{number}", splits)
        artifact.set_int_custom_property("span", number)
        return artifact

    def decide(self, span, *, model=True, reference=None, earlier=(), **settings) -> Decision:
        decision = Decision()
        decision.uri = str(self.root / "decision")
        Executor().Do(
            {
                "examples": [span],
                "model": [self.model] if model else [],
                "reference": self.reference if reference is None else reference,
                "earlier": list(earlier),
            },
            {"decision": [decision]},
            DEFAULTS | settings,
        )
        report = json.loads((self.root / "decision" / "decision.json").read_text())
        assert report["train"] == bool(decision.get_int_custom_property("train"))
        assert report["why"] == decision.get_string_custom_property("why")
        assert decision.get_int_custom_property("span") == report["span"]
        assert decision.get_int_custom_property("judged_model") == (17 if model else 0)
        return decision


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Node:
    return Node(tmp_path_factory.mktemp("decision"))


@pytest.fixture(scope="module")
def alike(node: Node):
    """A span like the others."""
    return node.span(3, digits(30, start=24))


def earlier(span: int, *, train: bool, why: str = "the reason") -> Decision:
    decision = Decision()
    decision.set_int_custom_property("span", span)
    decision.set_int_custom_property("train", int(train))
    decision.set_string_custom_property("why", why)
    return decision


def why(decision: Decision, *, train: bool) -> str:
    assert decision.get_int_custom_property("train") == int(train)
    return decision.get_string_custom_property("why")


def test_a_span_like_the_others_is_skipped(node, alike) -> None:
    reason = why(node.decide(alike), train=False)
    assert reason.startswith("the served model still fits: precision@1 0.")
    assert reason.endswith("on 100 new queries of 10 classes")
    report = json.loads((node.root / "decision" / "decision.json").read_text())
    assert (report["classes"], report["queries"]) == (10, 100)
    for change in report["changes"].values():
        assert change["lower"] < change["now"] - change["before"] < change["upper"]


def test_the_order_of_the_tolerance_and_the_interval_decides(node, alike) -> None:
    node.decide(alike)
    changes = json.loads((node.root / "decision" / "decision.json").read_text())["changes"]
    least = -min(change["lower"] for change in changes.values())
    assert least > 0
    why(node.decide(alike, tolerated_drop=least), train=False)
    reason = why(node.decide(alike, tolerated_drop=least - 1e-6), train=True)
    assert reason.startswith("a drop of more than 0.")
    assert "cannot be ruled out" in reason
    # A rarer interval is wider.
    why(node.decide(alike, tolerated_drop=least, level=0.99), train=True)


def test_a_model_that_has_become_worse(node) -> None:
    rows = digits(30, start=24)
    labels = [label for _, label, _ in rows]
    wrong = labels[30:] + labels[:30]  # every 1 is called 2, and so on
    mislabelled = [(image, w, id_) for (image, _, id_), w in zip(rows, wrong, strict=True)]
    reason = why(node.decide(node.span(4, mislabelled), tolerated_drop=0.05), train=True)
    assert reason.startswith("the served model has become worse: precision@1 0.")


def test_an_unknown_class_is_found_in_both_splits(node) -> None:
    rows = digits(12, start=24)
    image, _, _ = rows[0]
    # Numbers 120 and 121 of the rows: the first is for evaluation.
    rows += [(image, b"\x1b[31mnew", b"x"), (image, b"ten", b"y")]
    span = node.span(5, rows, distractors=[(image, b"of no class", b"z")])
    assert why(node.decide(span), train=True) == (
        "2 classes are unknown to the served model: '\\\\x1b[31mnew', 'ten'"
    )
    why(node.decide(span, reference=[*node.reference, span], tolerated_drop=1.0), train=False)


def test_what_is_decided_without_a_look_at_the_images(node, alike) -> None:
    assert "no blessed model" in why(node.decide(alike, model=False), train=True)
    assert "are gone" in why(node.decide(alike, reference=[]), train=True)
    skips = [earlier(span, train=False) for span in (5, 6)]
    why(node.decide(alike, earlier=skips), train=False)
    reason = why(node.decide(alike, earlier=skips, max_skips=2), train=True)
    assert reason == "2 spans were skipped in a row, max_skips = 2"
    reason = why(node.decide(alike, earlier=[earlier(7, train=True)]), train=True)
    assert reason == "the training with span 7 led to no blessed model; its reason was: the reason"
    # Not longer with every repetition.
    again = [earlier(8, train=True, why=reason)]
    assert why(node.decide(alike, earlier=again), train=True) == reason.replace("7", "8")


def test_nothing_to_compare_is_no_proof(node, alike) -> None:
    span = node.span(6, digits(3, start=24), eval=[])
    reason = why(node.decide(span), train=True)
    assert reason == "no class has images to compare in its eval split"
    one_class = node.span(7, digits(30, start=60, classes=[3]))
    reason = why(node.decide(one_class), train=True)  # nothing can be resampled
    assert reason == "too few classes to tell whether the model fits: 10 new queries of 1 class"


def test_another_split_to_search_in(node, alike) -> None:
    reason = why(node.decide(alike, gallery_split="train", tolerated_drop=1.0), train=False)
    assert reason != why(node.decide(alike, tolerated_drop=1.0), train=False)
    with pytest.raises(ValueError, match="gallery_split is 'catalogue', but the spans that"):
        node.decide(alike, gallery_split="catalogue")


def test_a_model_without_the_signature_is_named(node, alike) -> None:
    before = node.model
    node.model = model_artifact(node.root / "other", signature="other")
    node.model.id = 17
    with pytest.raises(ValueError, match=r"has the signatures other, but 'images' is needed"):
        node.decide(alike)
    node.model = before
