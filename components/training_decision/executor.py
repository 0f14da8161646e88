"""The executor of TrainingDecision."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import logging
from tfx import types
from tfx.components.example_gen.utils import SPAN_PROPERTY_NAME
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_component_specs

from components.metadata import DECISION_KEY, JUDGED_MODEL, TRAIN, WHY, serving_files
from components.training_decision.comparing import Change, Comparison, compare
from components.training_decision.embedding import Embedder, read_labels
from modules.runtime import shown
from modules.storage import write_file

EXAMPLES_KEY = standard_component_specs.EXAMPLES_KEY
MODEL_KEY = standard_component_specs.MODEL_KEY
REFERENCE_KEY, EARLIER_KEY = "reference", "earlier"
TOLERATED_DROP_KEY, MAX_SKIPS_KEY = "tolerated_drop", "max_skips"
LEVEL_KEY, GALLERY_SPLIT_KEY, EXCLUDE_SAME_KEY = "level", "gallery_split", "exclude_same"
REPORT_FILE = "decision.json"

_EVAL = "eval"
_ITS_REASON = "; its reason was: "
_NAMED = 10  # classes that a reason lists
# 0.94 − 0.95 is a little below −0.01 in binary: a drop of exactly what is tolerated must pass.
_ROUNDING = 1e-9


class _Verdict(NamedTuple):
    train: bool
    why: str
    comparison: Comparison | None = None


class Executor(base_executor.BaseExecutor):
    """Decides whether a span is trained on; see the component for the rules."""

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Notes the decision with its artifact, and the figures in `decision.json`.

        Args:
            input_dict: `examples`, one artifact; at most one `model`; any number of `reference` and
                of `earlier`.
            output_dict: `decision`, one artifact.
            exec_properties: See the component; `exclude_same` as JSON.

        Raises:
            ValueError: The model has no signature `images`, an id occurs twice in the split, or
                `gallery_split` is not in the examples.
        """
        (current,) = input_dict[EXAMPLES_KEY]
        model = next(iter(input_dict.get(MODEL_KEY) or []), None)
        verdict = _decide(
            current,
            model,
            input_dict.get(REFERENCE_KEY) or [],
            input_dict.get(EARLIER_KEY) or [],
            exec_properties,
        )
        decision = artifact_utils.get_single_instance(output_dict[DECISION_KEY])
        decision.set_int_custom_property(SPAN_PROPERTY_NAME, _span(current))
        decision.set_int_custom_property(TRAIN, int(verdict.train))
        decision.set_string_custom_property(WHY, verdict.why)
        decision.set_int_custom_property(JUDGED_MODEL, model.id if model else 0)
        report = {
            "span": _span(current),
            "train": verdict.train,
            "why": verdict.why,
            **(_figures(verdict.comparison) if verdict.comparison else {}),
        }
        write_file(f"{decision.uri}/{REPORT_FILE}", json.dumps(report, indent=1).encode())
        logging.info("Span %d: %s: %s", _span(current), _word(verdict.train), verdict.why)


def _word(train: bool) -> str:
    return "is trained on" if train else "is skipped"


def _decide(
    current: types.Artifact,
    model: types.Artifact | None,
    reference: Sequence[types.Artifact],
    earlier: Sequence[types.Artifact],
    settings: dict[str, Any],
) -> _Verdict:
    """Looks first at what costs nothing."""
    if model is None:
        return _Verdict(True, "no blessed model of these settings is there")
    if earlier and earlier[-1].get_int_custom_property(TRAIN):
        reason = earlier[-1].get_string_custom_property(WHY).rpartition(_ITS_REASON)[-1]
        span = _span(earlier[-1])
        return _Verdict(
            True, f"the training with span {span} led to no blessed model{_ITS_REASON}{reason}"
        )
    most = settings[MAX_SKIPS_KEY]
    if len(earlier) >= most:
        spans = "1 span was" if len(earlier) == 1 else f"{len(earlier)} spans were"
        return _Verdict(True, f"{spans} skipped in a row, max_skips = {most}")
    if not reference:
        return _Verdict(True, "the examples that the served model was trained on are gone")
    if unknown := sorted(read_labels([current]) - read_labels(reference)):
        names = ", ".join(repr(shown(name)) for name in unknown[:_NAMED])
        more = f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else ""
        noun = "class is" if len(unknown) == 1 else "classes are"
        return _Verdict(True, f"{len(unknown):,} {noun} unknown to the served model: {names}{more}")
    comparison = _compare(current, model, reference, settings)
    return _judge(comparison, settings[TOLERATED_DROP_KEY])


def _compare(
    current: types.Artifact,
    model: types.Artifact,
    reference: Sequence[types.Artifact],
    settings: dict[str, Any],
) -> Comparison:
    columns = json.loads(settings.get(EXCLUDE_SAME_KEY) or "[]")
    embedder = Embedder(serving_files(model.uri))
    before = embedder.gallery(reference, _EVAL, columns)
    now = embedder.gallery([current], _EVAL, columns)
    searched, split = None, settings.get(GALLERY_SPLIT_KEY)
    if split:
        searched = embedder.gallery(reference, split, columns)
        if searched is None:
            raise ValueError(
                f"TrainingDecision: gallery_split is {split!r}, but the spans that the served "
                "model was trained on have no images in such a split. Correct [evaluation] "
                "gallery_split."
            )
    if before is None or now is None:
        return Comparison({}, 0, 0)
    return compare(before, now, searched, settings[LEVEL_KEY])


def _judge(comparison: Comparison, tolerated: float) -> _Verdict:
    """Skips if no score can have dropped by more than is tolerated; NaN can be anything."""
    if not comparison.changes:
        return _Verdict(True, "no class has images to compare in its eval split", comparison)
    worse = {
        name: change
        for name, change in comparison.changes.items()
        if not change.lower >= -tolerated - _ROUNDING
    }
    classes = "1 class" if comparison.classes == 1 else f"{comparison.classes:,} classes"
    of = f"{comparison.queries:,} new queries of {classes}"
    if any(math.isnan(change.lower) for change in worse.values()):
        return _Verdict(True, f"too few classes to tell whether the model fits: {of}", comparison)
    if not worse:
        found = ", ".join(_in_words(*item) for item in comparison.changes.items())
        return _Verdict(False, f"the served model still fits: {found}, on {of}", comparison)
    found = ", ".join(_in_words(*item) for item in worse.items())
    dropped = any(change.upper < 0 for change in worse.values())
    if dropped:
        why = f"the served model has become worse: {found}, on {of}"
    else:
        why = f"a drop of more than {tolerated:g} cannot be ruled out: {found}, on {of}"
    return _Verdict(True, why, comparison)


def _in_words(name: str, change: Change) -> str:
    return (
        f"{name} {change.now:.4f} instead of {change.before:.4f} "
        f"[{change.lower:+.4f}, {change.upper:+.4f}]"
    )


def _figures(comparison: Comparison) -> dict[str, Any]:
    """As JSON has it: no NaN."""
    return {
        "classes": comparison.classes,
        "queries": comparison.queries,
        "changes": {
            name: {
                key: None if math.isnan(value) else value for key, value in one._asdict().items()
            }
            for name, one in comparison.changes.items()
        },
    }


def _span(artifact: types.Artifact) -> int:
    return artifact.get_int_custom_property(SPAN_PROPERTY_NAME)
