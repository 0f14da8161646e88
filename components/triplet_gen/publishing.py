"""What is known of the triplets afterwards: properties of the artifact, and the same in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from absl import logging
from tfx import types

from components.triplet_gen.statistics import InputStats, OutputStats
from modules.settings import TripletSettings
from modules.storage import write_file

STATISTICS_FILE = "triplets.json"

# By name of the split: what was read, and what was written.
Counts = Mapping[str, tuple[InputStats, OutputStats]]


def publish(
    output: types.Artifact, counts: Counts, configured: TripletSettings, used: TripletSettings
) -> None:
    """Writes `triplets.json`, then sets the same as custom properties.

    Args:
        output: The artifact; see the component for the names.
        counts: Counts of every split.
        configured: What the user asked for.
        used: What was done: without a model, mining becomes sampling at random.
    """
    by_split = {
        split: {
            "triplets": written.triplets,
            "anchors": written.anchors,
            "anchors_without_positive": read.singletons,
            "classes": len(read.labels),
        }
        for split, (read, written) in counts.items()
    }
    numbers = {
        name: sum(values[name] for values in by_split.values())
        for name in ("triplets", "anchors", "anchors_without_positive")
    }
    numbers["classes"] = len(set().union(*(read.labels for read, _ in counts.values())))
    for split, values in by_split.items():
        numbers |= {f"{split}_{name}": value for name, value in values.items()}
    texts = {
        "strategy": configured.strategy,
        "positives": configured.positives,
        "sampled_by": used.strategy,
        "positives_sampled_by": used.positives,
    }
    sizes = {f"{split}_class_sizes": read.class_sizes() for split, (read, _) in counts.items()}

    everything = numbers | texts | sizes
    write_file(f"{output.uri}/{STATISTICS_FILE}", json.dumps(everything, indent=2).encode())
    for name, number in numbers.items():
        output.set_int_custom_property(name, number)
    for name, text in texts.items():
        output.set_string_custom_property(name, text)
    for name, histogram in sizes.items():
        output.set_string_custom_property(name, json.dumps(histogram))
    logging.info("TripletGen: %s", everything)
