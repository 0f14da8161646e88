"""Who is to blame: the search for spans, the judgement of images, and what is refused at once."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from modules.retrieval import make_gallery
from pipeline.commands import blame as command
from pipeline.config import Config, parse_config
from pipeline.imported import RunInputs
from pipeline.metadata import RunState, RunSummary
from pipeline.operations import blame as blame_module, blame_search
from pipeline.operations.blame import Blame, Outcome, Trial, rejected_run, search_window
from pipeline.operations.blame_images import (
    NEIGHBOURS,
    ClassVerdict,
    ImageVerdict,
    SpanVerdict,
    judge_span,
)
from pipeline.runtime import NotRunError


@given(spans=st.sets(st.integers(0, 99), min_size=2, max_size=20), data=st.data())
def test_one_culprit_is_found_in_two_questions_a_halving(spans: set[int], data) -> None:
    culprit = data.draw(st.sampled_from(sorted(spans)))
    asked: list[frozenset[int]] = []

    def passes(left_out: frozenset[int]) -> bool:
        asked.append(left_out)
        return culprit in left_out

    assert blame_search.find_culprits(sorted(spans), passes) == (culprit,)
    assert len(asked) <= 2 * math.ceil(math.log2(len(spans)))
    assert len(set(asked)) == len(asked)


@given(
    spans=st.sets(st.integers(0, 99), min_size=2, max_size=10),
    good=st.functions(like=lambda left_out: ..., returns=st.booleans(), pure=True),
)
def test_whatever_the_gate_says_the_answer_is_one_without_which_it_passes(spans, good) -> None:
    """Also where leaving out more makes it worse, since there is less to learn from."""
    asked: dict[frozenset[int], bool] = {}

    def passes(left_out: frozenset[int]) -> bool:
        assert 0 < len(left_out) < len(spans)  # something is left to train on
        asked[left_out] = good(left_out)
        return asked[left_out]

    found = frozenset(blame_search.find_culprits(sorted(spans), passes))
    if found:
        assert asked[found]
    singles = [frozenset({span}) for span in (found or spans)]
    if len(singles) > 1:  # nothing smaller was found, though each span was asked about
        assert not any(asked[single] for single in singles)


def test_two_culprits_side_by_side_are_found_and_two_far_apart_are_not() -> None:
    def search(*culprits: int) -> tuple[int, ...]:
        return blame_search.find_culprits(range(8), lambda part: set(culprits) <= part)

    assert search(6, 7) == (6, 7)
    assert search(4, 7) == (4, 5, 6, 7)  # without which the gate passes; not by less of it
    assert search(0, 7) == ()


def only(gallery, rows):
    return make_gallery(gallery.ids[rows], gallery.labels[rows], gallery.embeddings[rows])


def by_loops(span, rest) -> list[tuple]:
    """The strangers of a span, one query after the other."""
    found = []
    for id_, label, embedding in zip(span.ids, span.labels, span.embeddings, strict=True):
        apart = [float(((embedding - other) ** 2).sum()) for other in rest.embeddings]
        nearest = sorted(range(len(apart)), key=lambda row: (apart[row], rest.ids[row]))
        labels = [rest.labels[row] for row in nearest[:NEIGHBOURS]]
        counts = {name: labels.count(name) for name in labels}
        winner = max(counts, key=lambda name: (counts[name], -labels.index(name)))
        if label in rest.labels and winner != label:
            found.append((id_, label, winner, counts[winner] / len(labels)))
    return found


@given(seed=st.integers(0, 10**6), size=st.integers(1, 30), rest_size=st.integers(1, 40))
def test_strangers_are_those_of_plain_loops(seed: int, size: int, rest_size: int) -> None:
    random = np.random.default_rng(seed)

    def gallery(n: int, name: str):
        labels = random.choice([b"a", b"b", b"c"], n)
        ids = [f"{name}{row:02d}".encode() for row in range(n)]
        return make_gallery(ids, list(map(bytes, labels)), random.normal(size=(n, 3)))

    span, rest = gallery(size, "s"), gallery(rest_size, "r")
    verdict = judge_span(span, rest)
    strangers = by_loops(span, rest)
    usual = {}
    for label in set(rest.labels.tolist()):
        rows = np.flatnonzero(rest.labels == label)
        strange = 0
        for row in rows:
            others = np.delete(np.arange(rest_size), row)
            if not len(others):
                continue
            one, left = only(rest, [row]), only(rest, others)
            # The label may be gone with its last image, and is a stranger's then.
            found = by_loops(one, left)
            strange += bool(found) or label not in left.labels
        usual[label] = strange / len(rows)
    sizes = {label: int((span.labels == label).sum()) for label in set(span.labels.tolist())}
    expected = {
        label: sum(s[1] == label for s in strangers) - n * usual[label]
        for label, n in sizes.items()
        if label in usual
    }
    assert {c.label: pytest.approx(c.excess) for c in verdict.classes} == {
        label: excess for label, excess in expected.items() if excess > 1e-12
    }
    named = {c.label for c in verdict.classes}
    assert sorted(verdict.images) == sorted(s for s in strangers if s[1] in named)
    assert verdict.new_classes == {k: n for k, n in sizes.items() if k not in usual}
    shares = [image.share for image in verdict.images]
    assert shares == sorted(shares, reverse=True)


def test_images_with_labels_that_were_mixed_up_come_out_with_their_right_ones() -> None:
    random = np.random.default_rng(3)
    centres = {b"cat": [0, 0], b"dog": [9, 0], b"cow": [0, 9]}

    def of(label: bytes, n: int, name: str):
        return [(f"{name}{i}".encode(), label, random.normal(centres[label])) for i in range(n)]

    def gallery(rows):
        ids, labels, embeddings = zip(*rows, strict=True)
        return make_gallery(ids, labels, np.array(embeddings))

    rest = gallery([row for label in centres for row in of(label, 12, label.decode())])
    mixed = [(id_, b"dog", x) for id_, _, x in of(b"cat", 3, "wrong")]
    good = [*of(b"dog", 9, "good"), *of(b"cow", 5, "fine"), (b"new0", b"owl", np.zeros(2))]
    verdict = judge_span(gallery([*mixed, *good]), rest)
    (dog,) = verdict.classes
    assert (dog.label, dog.images, dog.strangers, dog.usual) == (b"dog", 12, 3, 0.0)
    assert dog.looks_like == b"cat"
    assert [image.id for image in verdict.images] == [b"wrong0", b"wrong1", b"wrong2"]
    assert {image[1:] for image in verdict.images} == {(b"dog", b"cat", 1.0)}
    assert verdict.new_classes == {b"owl": 1}


def config() -> Config:
    tables = {"pipeline": {"name": "mine"}, "data": {"path": "photos"}}
    return parse_config(tables, "the test")


def run(run_id: str, state: RunState, window: tuple[int, ...] = (1, 2)) -> RunSummary:
    return RunSummary(run_id, "2026-01-02 03:00:00", 9.0, state, window=window)


@pytest.mark.parametrize(
    ("runs", "run_id", "message"),
    [
        ([], None, "the gate has judged no model"),
        ([run("a", RunState.FAILED)], None, "the gate has judged no model"),
        ([run("a", RunState.PUSHED)], None, "it is pushed, and blame asks why"),
        ([run("a", RunState.REJECTED), run("b", RunState.SKIPPED)], "b", "it is skipped"),
        ([run("a", RunState.REJECTED)], "x", "there is no run whose id is or begins with 'x'"),
        ([run(i, RunState.REJECTED) for i in ("ab", "ac")], "a", "2 runs have an id that begins"),
        ([run("a", RunState.REJECTED, (7,))], None, "was trained on span 7 alone"),
        ([run("a", RunState.REJECTED, ())], None, "was trained on data without spans alone"),
    ],
)
def test_there_is_nothing_to_blame(monkeypatch, runs, run_id, message) -> None:
    monkeypatch.setattr(blame_module, "read_runs", lambda config: runs)
    with pytest.raises(NotRunError, match=message):
        rejected_run(config(), run_id)


def test_the_last_judged_run_or_the_one_that_is_named(monkeypatch) -> None:
    runs = [
        run("early", RunState.REJECTED), run("pushed", RunState.PUSHED),
        run("late", RunState.REJECTED), run("nothing", RunState.NOTHING_NEW),
    ]  # fmt: skip
    monkeypatch.setattr(blame_module, "read_runs", lambda config: runs)
    assert rejected_run(config(), None).run_id == "late"
    assert rejected_run(config(), "ear").run_id == "early"


class Gate:
    """Trials whose outcome is a rule of what is trained and evaluated on."""

    def __init__(self, rule, evaluated=(1, 2, 3, 4)) -> None:
        spans = {key: {} for key in (1, 2, 3, 4)}
        self.inputs = RunInputs(spans, {key: {} for key in evaluated}, [], [], [], {})
        self.rule, self.asked = rule, []

    def run(self, without, not_evaluated) -> Trial:
        self.asked.append((set(without), set(not_evaluated)))
        blessed = self.rule({1, 2, 3, 4} - set(without), {1, 2, 3, 4} - set(not_evaluated))
        return Trial(tuple(without), tuple(not_evaluated), blessed, {}, 0.0)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (lambda trained, evaluated: 3 not in trained, (Outcome.TRAINING, (3,))),
        (lambda trained, evaluated: 2 not in evaluated, (Outcome.EVALUATION, (2,))),
        (lambda trained, evaluated: False, (Outcome.NOBODY, ())),
        (lambda trained, evaluated: True, (Outcome.ACCEPTED, ())),
    ],
)
def test_training_is_asked_before_evaluation(rule, expected) -> None:
    gate = Gate(rule)
    assert search_window(gate) == expected
    assert gate.asked[0] == (set(), set())
    if expected[0] is Outcome.TRAINING:
        assert not any(not_evaluated for _, not_evaluated in gate.asked)


def test_an_evaluation_span_of_its_own_is_never_left_out() -> None:
    gate = Gate(lambda trained, evaluated: 2 not in evaluated, evaluated=[2])
    assert search_window(gate) == (Outcome.NOBODY, ())
    assert not any(not_evaluated for _, not_evaluated in gate.asked)


def test_what_the_command_shows() -> None:
    scores = {"precision@1": 0.5, "precision@5": 0.4, "map@r": 0.25, "queries": 9.0}
    trials = [
        Trial((), (), False, scores, 10.0),
        Trial((3,), (3,), True, scores | {"map@r": 0.5}, 12.4),
        Trial((1, 2), (), False, {}, 1.0, error="TripletGen failed: one class only"),
    ]
    verdict = SpanVerdict(
        [ClassVerdict(b"[red]dog", 4, 3, 0.25, b"cat")],
        [ImageVerdict(b"a\x1b.png", b"[red]dog", b"cat", 0.8), ImageVerdict(b"b", b"x", b"y", 0.6)],
        {b"owl": 1},
    )
    found = Blame(
        run("id", RunState.REJECTED, (1, 2, 3)), Outcome.EVALUATION, (3,), trials, verdict,
        ["The audit says so."], "folder",
    )  # fmt: skip
    console = Console(width=200, record=True, file=io.StringIO())
    tables = [command.trial_table(trials), *command.verdict_tables(verdict, 1)]
    for table in tables:
        console.print(table)
    text = console.export_text()
    assert "span 3, nor evaluated on" in text
    for row in (
        ("nothing", "rejects", "0.5000", "0.2500", "10"),
        ("passes", "0.5000", "0.5000", "12"),
        ("spans 1, 2", "failed"),
        ("[red]dog", "4", "75%", "25%", "cat"),
        ("a\\x1b.png", "[red]dog", "cat", "80%"),
    ):
        assert re.search(".*".join(map(re.escape, row)), text), row
    assert "1 more with --images or --json" in text
    assert "To blame: span 3." in command.conclusion(found)
    assert [*command.notes(found)] == [
        "Class 'owl' is in no other span: its 1 image has nobody to be like.",
        "The audit says so.",
        "The trials are in folder",
    ]
    values = json.loads(json.dumps(command.as_values(found)))
    assert values["spans"] == [3]
    assert values["audit"] == ["The audit says so."]
    assert values["images"][0]["id"] == "a\\x1b.png"
    assert values["trials"][2]["error"] == "TripletGen failed: one class only"
    assert values["trials"][0]["metrics"] == {"precision@1": 0.5, "map@r": 0.25}
    for outcome in (Outcome.NOBODY, Outcome.ACCEPTED):
        nobody = dataclasses.replace(found, outcome=outcome, spans=(), verdict=None)
        assert "to blame" in command.conclusion(nobody)
        assert command.as_values(nobody)["classes"] == []
