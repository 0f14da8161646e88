"""The driver of ImageExampleGen: decides whether its input has changed since the last run."""

from __future__ import annotations

import hashlib
import os

from components.spans import SpanDriver, SpanInputProcessor


class ImageInputProcessor(SpanInputProcessor):
    """Adds the names of the files to TFX's fingerprint of their number, sizes and times.

    Moving an image to another class folder changes its label and none of these three; without the
    names the run would take the old labels from the cache.
    """

    def get_input_fingerprint(self, span: int, version: int | None) -> str:
        """Returns TFX's fingerprint and the SHA-256 of all matching paths."""
        digest = hashlib.sha256()
        for path in self.files(span, version):
            digest.update(os.fsencode(path) + b"\0")
        return f"{super().get_input_fingerprint(span, version)}\npaths:{digest.hexdigest()}"


class Driver(SpanDriver):
    """The driver that reads span by span, with `ImageInputProcessor`."""

    INPUT_PROCESSOR = ImageInputProcessor
