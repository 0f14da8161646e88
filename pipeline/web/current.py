"""The version that answers: always a whole one, and the newest that can be used."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import time

from pipeline.runtime import NotRunError
from pipeline.served import ServedVersion, VersionError, newest_version, open_version

_log = logging.getLogger("pipeline.web")
_TRY_AGAIN = 60.0  # seconds, of a version that could not be used


class NoVersionError(Exception):
    """Nothing was pushed yet."""


class CurrentVersion:
    """Follows a serving folder.

    A new version is opened and tried beside the one that answers, which goes on meanwhile. Then
    one assignment puts it in its place; answers that are under way keep the version they began
    with. A version that cannot be used leaves the one before in its place.

    Args:
        folder: A serving folder, or the folder of one version.
        max_pixels: Largest width × height of an image.

    Attributes:
        changes: How many times a version took over, the first included.
        failures: How many times one could not be used.
    """

    def __init__(self, folder: str, max_pixels: int) -> None:
        self._folder = folder
        self._max_pixels = max_pixels
        self._version: ServedVersion | None = None
        self._failed: tuple[str, float] | None = None
        self.changes = 0
        self.failures = 0

    def get(self) -> ServedVersion:
        """The version to answer with.

        Raises:
            NoVersionError: There is none yet.
        """
        if self._version is None:
            raise NoVersionError(
                f"There is no model in {self._folder} yet. Run the pipeline until one is pushed."
            )
        return self._version

    @property
    def is_there(self) -> bool:
        """Whether there is a version to answer with."""
        return self._version is not None

    def look(self) -> None:
        """Looks for a newer version, and takes it.

        Raises:
            PipelineError: There is none, or it cannot be used.
        """
        newest = newest_version(self._folder)
        if self._version is not None and newest == self._version.folder:
            return
        version = open_version(newest, self._max_pixels)
        # The first call of a model is slow: nobody waits for it. It shows that the model works.
        for fault in version.embed([_white_image()]).faults.values():
            raise VersionError(
                f"{newest} cannot be used: it does not embed a white image: {fault}."
            )
        before, self._version = self._version, version
        self.changes += 1
        index = version.index
        gallery = f"{len(index):,} images to search" if index else "no index, so no search"
        _log.info("Version %s answers now: %s.", version.folder, gallery)
        if before is not None:
            del before
            gc.collect()  # a model is full of cycles, and may hold much memory

    async def watch(self, seconds: float) -> None:
        """Looks again and again until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._look_quietly)

    def _look_quietly(self) -> None:
        newest = ""
        try:
            newest = newest_version(self._folder)
            if self._failed and self._failed[0] == newest and time.monotonic() < self._failed[1]:
                return
            self.look()
            self._failed = None
        except NotRunError:
            return  # nothing there: what is loaded goes on
        except Exception as error:  # whatever it is, what answers goes on, and so does the watching
            self.failures += 1
            self._failed = newest, time.monotonic() + _TRY_AGAIN
            stays = self._version.name if self._version else "none"
            _log.error("%s The version that answers stays: %s.", error, stays)


def _white_image() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (8, 8), 255).save(buffer, "PNG")
    return buffer.getvalue()
