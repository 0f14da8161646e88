"""Thresholds at a k that the gallery makes meaningless; its size is known after the evaluation."""

from __future__ import annotations

import json
import math
import re

from tensorflow_model_analysis.proto import config_pb2

from modules.gate.report import CANDIDATE, OVERALL, Failure, Metrics

_AT_K = re.compile(r"(?P<score>precision|precision_capped|recall|ndcg)@(?P<k>\d+)")


def describe_meaningless(eval_config: config_pb2.EvalConfig, metrics: Metrics) -> list[Failure]:
    """Says which thresholds at k no model, or every model, would meet whatever it has learned.

    A query has as many neighbours as the gallery has rows, without the query itself. With k above
    their number there are places that nothing can fill. With k equal to it all of them are in the
    k nearest of every model, so only `ndcg@k`, which looks at their order, tells models apart.

    Args:
        eval_config: What the Evaluator ran with, `gallery_files` filled in.
        metrics: What `read_metrics` returned.
    """
    values = metrics[CANDIDATE][OVERALL]
    found = {}
    for spec in eval_config.metrics_specs:
        options = [json.loads(metric.config or "{}") for metric in spec.metrics]
        apart = any(option.get("gallery_files") for option in options)
        neighbours = values.get("gallery_size", math.nan) - (0 if apart else 1)
        for name in spec.per_slice_thresholds:
            at_k = _AT_K.match(name)
            if not at_k or int(k := at_k["k"]) < neighbours or math.isnan(neighbours):
                continue
            metric, score = at_k[0], at_k["score"]
            if int(k) == neighbours and score == "ndcg":
                continue
            found[metric] = Failure(
                metric,
                OVERALL,
                values[metric],
                f"its threshold says nothing of the model: k is {k} and a query has "
                f"{neighbours:,.0f} neighbours in all; take a smaller k or a larger gallery",
            )
    return [found[metric] for metric in sorted(found)]
