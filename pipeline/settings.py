"""The tables of the configuration that stand on their own, and where relative paths start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from modules.settings import ModelSettings, Settings

PROJECT = Path(__file__).resolve().parent.parent

LOCAL_BEAM = [
    # In process, without the Go binary that plain DirectRunner would download.
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    # No container at all. Without a word on it TFX packs itself for the workers: two seconds and
    # 52 MB in the folder of temporary files for each node, which nobody removes.
    "--sdk_container_image=none",
]


def _absolute(path: str) -> str:
    """Takes relative local paths from the project folder, wherever the process was started."""
    return path if "://" in path else str(PROJECT / path)


ProjectPath = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]


class PipelineSettings(Settings):
    """`[pipeline]`: where a pipeline keeps what it makes, and how Beam runs."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    directory: ProjectPath = ".work"
    serving: Annotated[ProjectPath | None, Field(description="default: DIRECTORY/NAME/serving")] = (
        None
    )
    keep_versions: Annotated[
        int, Field(ge=0, description="in the serving folder, the newest; 0 for all")
    ] = 0
    cache: bool = True
    warm_start: Annotated[
        bool, Field(description="new data: train on from the last blessed model")
    ] = False
    beam_args: list[str] = LOCAL_BEAM

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


def _weights_path(weights: str) -> str:
    return weights if weights in ("none", "imagenet") else _absolute(weights)


class PretrainedModelSettings(ModelSettings):
    """`[model]`: as in `modules.settings`, with the path of a weights file from the project."""

    weights: Annotated[str, Field(min_length=1), AfterValidator(_weights_path)] = "none"


class TripletSettings(Settings):
    """`[triplets]`: how TripletGen samples."""

    strategy: Literal["random", "class_balanced", "semi_hard", "hard"] = "random"
    positives: Literal["random", "hard"] = "random"
    per_anchor: Annotated[int, Field(ge=1, le=1000)] = 1
    max_per_class: Annotated[int, Field(ge=0, description="anchors; 0 for no limit")] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    bucket_size: Annotated[int, Field(ge=2, description="examples")] = 4096
    rounds_on_same_data: Annotated[
        int, Field(ge=0, description="how often a new model mines again without new data")
    ] = 1

    @property
    def needs_model(self) -> bool:
        """Whether an earlier model takes part in the sampling."""
        return self.strategy in ("semi_hard", "hard") or self.positives == "hard"

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> TripletSettings:
        if "rounds_on_same_data" in self.model_fields_set and not self.needs_model:
            raise ValueError(
                "rounds_on_same_data has no effect unless an earlier model mines: set strategy to "
                "'semi_hard' or 'hard', or positives to 'hard', or remove it"
            )
        mined = self.strategy in ("semi_hard", "hard")
        if mined and self.positives == "hard" and self.per_anchor > 1:
            raise ValueError(
                "with a mined strategy and positives = 'hard' an anchor has one triplet, so "
                f"per_anchor = {self.per_anchor} would write it more than once; set it to 1"
            )
        return self


class RetrainingSettings(Settings):
    """`[retraining]`: the unattended runs, see `pipeline.retrain`; other runs ignore it."""

    alert_after: Annotated[
        int, Field(ge=1, description="refused models in a row that make the exit code an alarm")
    ] = 3
    hours_per_run: Annotated[
        float, Field(gt=0, le=24 * 30, description="a run that takes longer is ended")
    ] = 24
    log_megabytes: Annotated[float, Field(gt=0, description="size of one log file")] = 10
    log_files: Annotated[int, Field(ge=1, le=1000, description="older log files to keep")] = 10
