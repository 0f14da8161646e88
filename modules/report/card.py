"""The model card: what a pushed model is, for those who use it.

The same facts give the same card, so a push of the same model stays one.
"""

from __future__ import annotations

from modules.gate import BASELINE, CANDIDATE, CHANGE, OVERALL
from modules.report.facts import Facts
from modules.report.numbers import page_number, signed
from modules.report.templates import render
from modules.report.verdict import checks
from modules.runtime import shown
from modules.settings import KERAS_HUB, PRESET

_WORST_CLASSES = 5
_OF_PRESETS = {
    "dinov2": "Apache-2.0",
    "dinov3": "the DINOv3 License of Meta, with terms to accept",
    "siglip2": "Apache-2.0",
    "vit": "Apache-2.0",
}


def write_card(facts: Facts) -> str:
    """Writes the card, in Markdown.

    Args:
        facts: Without what differs from run to run of the same model: times, seconds.
    """
    of_candidate = facts.evaluation.metrics[CANDIDATE]
    overall = of_candidate[OVERALL]
    before = facts.evaluation.metrics.get(BASELINE, {}).get(OVERALL, {})
    intervals = facts.evaluation.intervals
    own, changes = (intervals.get(kind, {}).get(OVERALL, {}) for kind in (CANDIDATE, CHANGE))
    metrics = [
        {
            "name": name,
            "value": page_number(value, name) + _ends(own.get(name)),
            "change": signed(value - before[name]) + _ends(changes.get(name))
            if name in before
            else "",
        }
        for name, value in overall.items()
        if "_capped" not in name
    ]
    classes = sorted(
        (values["map@r"], _cell(name.removeprefix("label=")))
        for name, values in of_candidate.items()
        if name.startswith("label=") and values["map@r"] == values["map@r"]
    )
    return render(
        "model_card.md",
        facts=facts,
        name=_cell(facts.pipeline),
        overall=overall,
        compared=bool(before),
        metrics=metrics,
        checks=checks(facts.thresholds, facts.evaluation),
        worst=[(name, page_number(value)) for value, name in classes[:_WORST_CLASSES]],
        classes=len(classes),
        licence=backbone_licence(dict(facts.settings.get("model", {}))),
    )


def backbone_licence(model: dict[str, object]) -> str:
    """Says under what licence the weights are that the training started from.

    Args:
        model: The table `[model]`.
    """
    name, weights = model.get("name", "small_cnn"), model.get("weights", "none")
    if weights == "none":
        return "None: all weights were trained here, from random ones."
    if name == KERAS_HUB and weights == PRESET:
        preset = str(model.get("preset"))
        family = preset.rpartition("/")[2].split("_")[0].lower()
        known = _OF_PRESETS.get(family)
        words = f"{known}, as its authors state" if known else "that of its authors; look it up"
        return f"The backbone is the preset `{_cell(preset)}`. Its licence: {words}."
    if weights == "imagenet":
        return (
            f"The backbone {name} has the ImageNet weights that keras.applications publishes "
            "(Apache-2.0 code; ImageNet's images are for research)."
        )
    return f"The training started from the file `{_cell(str(weights))}`, whose licence it keeps."


def _cell(text: str) -> str:
    """A text from the data as Markdown shows it: no markup, no end of a cell."""
    escaped = shown(text)
    for sign in "\\`*_{}[]<>|#":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.4f}, {interval[1]:.4f}]"
