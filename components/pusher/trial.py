"""Whether a model that is to be pushed can be used: it is loaded and embeds one image."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from modules.models import Embedder


class UnusableModelError(ValueError):
    """A model cannot be loaded, or gives no embedding."""


def try_model(folder: str) -> None:
    """Loads a SavedModel and asks it for one embedding.

    A file that the disk has lost or changed is found here, and not by those who are served.

    Args:
        folder: Of a SavedModel that the Trainer has exported.

    Raises:
        UnusableModelError: It cannot be loaded, or its answer is no finite vector.
    """
    ramp = tf.reshape(tf.range(0, 256, 4, tf.int32), [8, 8, 1])
    try:
        embedding = Embedder(folder)([tf.io.encode_png(tf.cast(ramp, tf.uint8)).numpy()])
    except Exception as error:  # TensorFlow reports damaged files by errors of many kinds
        raise UnusableModelError(_message(folder, str(error).splitlines()[0][:300])) from error
    if embedding.ndim != 2 or len(embedding) != 1 or not np.isfinite(embedding).all():
        raise UnusableModelError(_message(folder, "its embedding of a plain image is not finite"))


def _message(folder: str, why: str) -> str:
    return (
        f"The model in {folder} cannot be used, so it is not pushed: {why}. If its files were "
        "damaged since it was trained, remove the folder of the model in the artifacts of the "
        "Trainer; the next run then trains anew."
    )
