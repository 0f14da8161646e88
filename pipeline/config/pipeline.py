"""The table `[pipeline]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modules.settings import Settings
from pipeline.config.paths import PlainPath


class PipelineSettings(Settings):
    """`[pipeline]`: where a pipeline keeps what it makes."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9_-]*$",
            max_length=63,
            description="names folders and runs",
        ),
    ]
    directory: Annotated[
        PlainPath,
        Field(description="holds a folder NAME with artifacts, metadata, logs and models"),
    ] = ".work"
    serving: Annotated[PlainPath | None, Field(description="default: DIRECTORY/NAME/serving")] = (
        None
    )
    keep_versions: Annotated[
        int, Field(ge=0, le=10**6, description="in the serving folder, the newest; 0 for all")
    ] = 0
    cache: Annotated[
        bool, Field(description="take over the output of a node whose inputs and code are the same")
    ] = True
    warm_start: Annotated[
        bool, Field(description="new data: train on from the last blessed model")
    ] = False

    @property
    def root(self) -> str:
        """Folder of the artifacts."""
        return f"{self.directory}/{self.name}/artifacts"

    @property
    def metadata(self) -> str:
        """The SQLite metadata database."""
        return f"{self.directory}/{self.name}/metadata.sqlite"

    @property
    def logs(self) -> str:
        """Folder of the logs of unattended runs."""
        return f"{self.directory}/{self.name}/logs"

    @property
    def serving_directory(self) -> str:
        """Folder of the pushed model versions."""
        return self.serving or f"{self.directory}/{self.name}/serving"
