"""The table `[export]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modules.settings.base import Fraction, Settings


class ExportSettings(Settings):
    """`[export]`: what is written beside the SavedModel.

    The similarity of a TFLite model is that of its embeddings to the network's, 1 for equal ones:
    the least over the compared images of the validation part.
    """

    tflite: Annotated[bool, Field(description="write a float and a quantised TFLite model")] = True
    min_similarity_float: Annotated[
        Fraction,
        Field(description="least similarity of the float32 model; below it training fails"),
    ] = 0.999
    min_similarity_dynamic: Annotated[
        Fraction, Field(description="least similarity of the quantised model")
    ] = 0.99
