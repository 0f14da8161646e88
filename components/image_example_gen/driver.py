"""The driver of ImageExampleGen: decides whether its input has changed since the last run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from tfx.components.example_gen import driver, input_processor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2, range_config_pb2


class ImageInputProcessor(input_processor.FileBasedInputProcessor):
    """Adds the names of the files to TFX's fingerprint of their number, sizes and times.

    Moving an image to another class folder changes its label and none of these three; without the
    names the run would take the old labels from the cache.
    """

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Returns TFX's fingerprint and the SHA-256 of all matching paths."""
        digest = hashlib.sha256()
        for split in self._splits:
            pattern = self.get_pattern_for_span_version(split.pattern, span, version)
            for path in sorted(fileio.glob(os.path.join(self._input_base_uri, pattern))):  # noqa: PTH118 — may be a URI
                digest.update(path.encode() + b"\0")
        return f"{super().get_input_fingerprint(span, version)}\npaths:{digest.hexdigest()}"


class Driver(driver.FileBasedDriver):
    """TFX's driver of file-based ExampleGens, with `ImageInputProcessor`."""

    def get_input_processor(
        self,
        splits: Iterable[example_gen_pb2.Input.Split],
        range_config: range_config_pb2.RangeConfig | None = None,
        input_base_uri: str | None = None,
    ) -> ImageInputProcessor:
        """Returns the processor of the input folder."""
        return ImageInputProcessor(input_base_uri, splits, range_config)
