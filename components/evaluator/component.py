"""The node Evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components import Evaluator as TfxEvaluator
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.evaluator import executor
from components.evaluator.compatibility import COMPATIBILITY_KEY, QUERIES_FINGERPRINT_KEY
from components.evaluator.operating_point import BASELINE_BLESSING_KEY, MAX_SHIFT_KEY
from modules.settings import CompatibilitySettings


class EvaluatorSpec(standard_component_specs.EvaluatorSpec):
    """TFX's specification, with a gallery besides."""

    PARAMETERS: ClassVar = {
        **standard_component_specs.EvaluatorSpec.PARAMETERS,
        executor.GALLERY_SPLIT_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        MAX_SHIFT_KEY: component_spec.ExecutionParameter(type=float, optional=True),
        executor.NEIGHBOURS_KEY: component_spec.ExecutionParameter(type=int, optional=True),
        COMPATIBILITY_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        QUERIES_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar = {
        **standard_component_specs.EvaluatorSpec.INPUTS,
        executor.GALLERY_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
        BASELINE_BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
    }


class Evaluator(TfxEvaluator):
    """Evaluates a model by retrieval, blesses it or not, and says why.

    TFX's node of that name (`tfx.components.Evaluator`): same id, outputs and decision, so that
    every node behind it works as usual. What is new:

    - The `blessing` artifact has the string property `reason`: one line per threshold that is not
      met, with metric, slice, value and bound, or "every threshold is met". Beside its file
      BLESSED or NOT_BLESSED lies `reasons.txt`, the same without a limit of length.
    - Beside TFMA's files lies `evaluation.json`: metrics, intervals and unmet thresholds, readable
      without TFMA (`modules.gate.read_report`).
    - Failures that TFMA reports where there is nothing to compare do not count: thresholds of
      slices without a scored query, and relative changes of a metric that was 0 and is no worse.
    - Thresholds may ask the interval of the change from the last blessed model (`no_worse`,
      `better`); what too few queries cannot tell is named as such (`modules.gate.change_tests`).
    - A threshold at a k that the gallery makes meaningless is not met
      (`modules.gate.gallery_bounds`).
    - With `[evaluation] false_accept_rate` the operating point lies beside the verdict, as
      `operating_point.json`, from where Pusher takes it along. It may be bound to that of the last
      blessed model.
    - With `compatibility` the new model's queries also search in the vectors of the last blessed
      model, and logged queries by both models. `compatibility.json` and `churn.json` say what was
      found; what is pushed with the model lies beside the verdict, in `compatibility/`.
    - Queries and gallery may differ: with `gallery_split` each query searches in another split,
      of the same examples or of `gallery`, such as a catalogue. A query that is in the gallery,
      by its id, is left out of its own results.
    - Examples may have the features `is_query` and `is_gallery`, int64: only queries are scored,
      and only the gallery is searched.
    - A split `distractors` of the examples is part of the gallery: images that no query looks for.
    - `[evaluation] exclude_same` leaves out what has a query's label and, say, its camera.
    - With `kept_neighbours`, `queries.parquet` lies beside TFMA's files: up to 20,000 queries with
      their embedding, scores and nearest neighbours (`modules.retrieval.read_kept_queries`).
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        eval_config: tfma.EvalConfig,
        module_path: str,
        baseline_model: types.BaseChannel | None = None,
        example_splits: Sequence[str] | None = None,
        gallery: types.BaseChannel | None = None,
        gallery_split: str | data_types.RuntimeParameter | None = None,
        baseline_blessing: types.BaseChannel | None = None,
        max_threshold_shift: float | None = None,
        kept_neighbours: int | None = None,
        compatibility: CompatibilitySettings | None = None,
        queries_fingerprint: str | None = None,
    ) -> None:
        """Constructs the node.

        Args:
            examples: Examples of the data contract; the queries.
            model: The candidate.
            eval_config: As `modules.gate.eval_config.make_eval_config` writes it.
            module_path: Name of a module with `custom_extractors`: `modules.evaluator`.
            baseline_model: The last blessed model, if there is one.
            example_splits: Names of the splits of `examples` to evaluate; default: `eval`.
            gallery: Examples to search in, in place of `examples`; needs `gallery_split`.
            gallery_split: Name of the split to search in; default: the evaluated splits.
            baseline_blessing: The blessing of the last blessed model, with its operating point.
            max_threshold_shift: How far the candidate's threshold may be from that, as a fraction
                of it; default: at any distance.
            kept_neighbours: Keep so many nearest neighbours of the queries; default: none.
            compatibility: `[compatibility]`; without it nothing is searched across two models.
            queries_fingerprint: Of the files in the folder that its `queries` names; part of the
                key of the cache.

        Raises:
            ValueError: `gallery` without `gallery_split`.
        """
        if gallery is not None and gallery_split is None:
            raise ValueError("Evaluator needs gallery_split to know which part of gallery to use")
        spec = EvaluatorSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            eval_config=eval_config,
            example_splits=json_utils.dumps(list(example_splits) if example_splits else None),
            fairness_indicator_thresholds=json_utils.dumps(None),
            gallery=gallery,
            gallery_split=gallery_split,
            baseline_blessing=baseline_blessing,
            max_threshold_shift=max_threshold_shift,
            kept_neighbours=kept_neighbours,
            compatibility=_text(compatibility) if compatibility else None,
            queries_fingerprint=queries_fingerprint,
            module_path=module_path,
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        )
        # Past TFX's own __init__, which would build TFX's specification.
        super(TfxEvaluator, self).__init__(spec=spec)


def _text(settings: CompatibilitySettings) -> str:
    """What differs from the defaults: set or not, they ask for the same."""
    return settings.model_dump_json(exclude_defaults=True)
