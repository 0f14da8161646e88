"""The curves of a training, from TensorBoard's files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modules.storage import path_exists

# What is worth a look, by the folder of the files: tag → title.
_TAGS = {
    "train": {"epoch_loss": "loss", "epoch_active": "active"},
    "validation": {
        "epoch_precision@1": "validation P@1",
        "epoch_map@r": "validation MAP@R",
        "epoch_d_ap": "validation d_ap",
        "epoch_d_an": "validation d_an",
    },
}
_POINTS = 500  # of a curve


class Curve(NamedTuple):
    """One quantity over the training.

    Attributes:
        title: Its name.
        steps: Where it was measured, ascending: of TensorBoard's axis.
        values: As many.
    """

    title: str
    steps: list[float]
    values: list[float]


def read_curves(folder: str) -> list[Curve]:
    """Reads the curves; none where there are none.

    Args:
        folder: The artifact `model_run`, local or a URI.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = []
    for part, tags in _TAGS.items():
        if not path_exists(f"{folder.rstrip('/')}/{part}"):
            continue
        limits = {"tensors": _POINTS, "scalars": _POINTS, "histograms": 1, "images": 1}
        events = EventAccumulator(f"{folder.rstrip('/')}/{part}", size_guidance=limits)
        events.Reload()
        there = set(events.Tags().get("tensors", ()))
        for tag, title in tags.items():
            if tag in there:
                found = events.Tensors(tag)
                values = [float(_value(one.tensor_proto)) for one in found]
                curves.append(Curve(title, [float(one.step) for one in found], values))
    return curves


def _value(tensor: object) -> np.ndarray:
    from tensorboard.util.tensor_util import make_ndarray

    return make_ndarray(tensor)
