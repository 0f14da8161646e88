"""The node that reads TFRecords."""

from __future__ import annotations

from tfx.components import ImportExampleGen

from components.spans import SpanDriver


class RecordExampleGen(ImportExampleGen):
    """Reads TFRecord files of tf.Examples, one span after the other when the patterns hold spans.

    Inputs, outputs and settings are those of `tfx.components.ImportExampleGen`; without spans it
    does the same. The node id stays that of TFX's node, `ImportExampleGen`.

    The `id` of an example must be unique over all spans that are trained on together.

    Source: `tfx.components.ImportExampleGen`.
    """

    DRIVER_CLASS = SpanDriver
