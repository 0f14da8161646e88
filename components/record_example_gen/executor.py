"""The executor of RecordExampleGen."""

from __future__ import annotations

from components.image_example_gen import Executor as ImageExecutor
from components.record_example_gen.reading import ReadRecords


class Executor(ImageExecutor):
    """Writes the examples of TFRecord files; checks, reports and judges like ImageExampleGen."""

    READ = ReadRecords
    EXPECTED = "Expected TFRecord files of tf.Examples with an image"
