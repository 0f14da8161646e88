"""What is known of the triplets afterwards: properties of the artifact, and the same in a file."""

from __future__ import annotations

import json

from absl import logging
from tfx import types

from components.triplet_gen.mining import UNIT
from components.triplet_gen.statistics import InputStats, OutputStats, class_sizes
from modules.settings import TripletSettings
from modules.storage import write_file

STATISTICS_FILE = "triplets.json"


def publish(
    output: types.Artifact,
    read: InputStats,
    written: OutputStats,
    configured: TripletSettings,
    used: TripletSettings,
) -> None:
    """Writes `triplets.json`, then sets the same as custom properties.

    Args:
        output: The artifact; `docs/triplet-gen.md` has the names.
        read: Counts of the train split.
        written: Counts of the train part.
        configured: What the user asked for.
        used: What was done: without a model, mining becomes sampling at random.
    """
    plan = read.validation_plan(used)
    if used.validation not in ("auto", plan.by):
        logging.warning(
            "TripletGen: validation images are held out by %s, not by %s, for which there are too "
            "few.",
            plan.by,
            used.validation,
        )
    train = [n for n in plan.train.values() if n]
    held = [n for n in plan.validation.values() if n]
    numbers = {
        "triplets": written.triplets,
        "anchors": written.anchors,
        "anchors_without_positive": train.count(1),
        "classes": len(train),
        "train_images": sum(train),
        "validation_images": sum(held),
        "validation_classes": len(held),
    }
    means: dict[str, float] = {}
    if used.mines:
        for name in ("hard_negatives", "anchors_with_hard_negative", "left_out_negatives"):
            numbers[name] = getattr(written, name)
        for name in ("d_ap", "d_an"):
            mean = getattr(written, name) / UNIT / written.triplets
            means[f"mean_{name}"] = round(mean, 6)
    texts = {
        "strategy": configured.strategy,
        "positives": configured.positives,
        "sampled_by": used.strategy,
        "positives_sampled_by": used.positives,
        "bucketed_by": used.buckets,
        "validation_by": plan.by,
    }
    sizes = {"train_class_sizes": class_sizes(plan.train)}

    everything = numbers | means | texts | sizes
    write_file(f"{output.uri}/{STATISTICS_FILE}", json.dumps(everything, indent=2).encode())
    for name, number in numbers.items():
        output.set_int_custom_property(name, number)
    for name, mean in means.items():
        output.set_float_custom_property(name, mean)
    for name, text in texts.items():
        output.set_string_custom_property(name, text)
    for name, histogram in sizes.items():
        output.set_string_custom_property(name, json.dumps(histogram))
    logging.info("TripletGen: %s", everything)
