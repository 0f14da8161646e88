"""The configuration: a TOML file, checked completely, with messages that name the key."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from modules.retrieval import score_names
from modules.settings import Fraction, ImageSettings, ModelSettings, Settings, TrainingSettings

CONFIG_VARIABLE = "TRIPLET_CONFIG"
DEFAULT_CONFIG = "mnist-sample"
PROJECT = Path(__file__).resolve().parent.parent
CONFIGS = Path(__file__).resolve().parent / "configs"

# In process, without the Go binary that plain DirectRunner would download.
LOCAL_BEAM = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]


def _absolute(path: str) -> str:
    """Takes relative local paths from the project folder, wherever the process was started."""
    return path if "://" in path else str(PROJECT / path)


ProjectPath = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file, the key and the remedy."""


class PipelineSettings(Settings):
    """`[pipeline]`: where a pipeline keeps what it makes, and how Beam runs."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    directory: ProjectPath = ".work"
    serving: Annotated[ProjectPath | None, Field(description="default: DIRECTORY/NAME/serving")] = (
        None
    )
    cache: bool = True
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
    def serving_directory(self) -> str:
        """Folder of the pushed model versions."""
        return self.serving or f"{self.directory}/{self.name}/serving"


class DataSettings(Settings):
    """`[data]`: where the labelled images are and how they are split.

    `train` and `eval` are glob patterns under `path` for `split = "given"`; `pattern` is the one
    for the splits by hash. They default to `train/*`, `eval/*` and `*` for record files, and to one
    level deeper for images in class folders.
    """

    path: ProjectPath
    format: Literal["images", "tfrecord"] = "tfrecord"
    split: Literal["given", "hash", "class_disjoint"] = "given"
    train: str | None = None
    eval: str | None = None
    pattern: str | None = None
    eval_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    max_undecodable_fraction: Fraction = 0.01
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    schema_file: Literal["contract", "inferred"] | ProjectPath = "contract"

    @property
    def patterns(self) -> dict[str, str]:
        """Glob pattern by name of input split; one named `all` if this pipeline does the split."""
        deeper = "/*" if self.format == "images" else ""
        if self.split == "given":
            return {
                "train": self.train or f"train/*{deeper}",
                "eval": self.eval or f"eval/*{deeper}",
            }
        return {"all": self.pattern or f"*{deeper}"}

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> DataSettings:
        unused = {"pattern", "eval_fraction"} if self.split == "given" else {"train", "eval"}
        if self.format == "tfrecord":
            unused |= {"max_undecodable_fraction", "max_pixels"}
        if unused := unused & self.model_fields_set:
            raise ValueError(
                f"{', '.join(sorted(unused))} has no effect with format = '{self.format}' and "
                f"split = '{self.split}'; remove it"
            )
        return self


class TripletSettings(Settings):
    """`[triplets]`: how TripletGen samples."""

    per_anchor: Annotated[int, Field(ge=1, le=1000)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    bucket_size: Annotated[int, Field(ge=2, description="examples")] = 4096


class Threshold(Settings):
    """What one metric of the candidate must reach to be blessed."""

    lower: Annotated[Fraction | None, Field(description="the least value")] = None
    max_drop: Annotated[
        Fraction | None, Field(description="how far below the last blessed model it may be")
    ] = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Threshold:
        if self.lower is None and self.max_drop is None:
            raise ValueError("needs `lower`, `max_drop` or both")
        return self


class EvaluationSettings(Settings):
    """`[evaluation]`: the metrics and the gate."""

    ks: list[Annotated[int, Field(ge=1)]] = Field([1, 5, 10], min_length=1)
    by_label: bool = True
    thresholds: dict[str, Threshold] = Field(
        {"precision@1": Threshold(lower=0.5, max_drop=0.01)}, min_length=1
    )

    @model_validator(mode="after")
    def _known_metrics(self) -> EvaluationSettings:
        known = score_names(self.ks)
        if unknown := sorted(set(self.thresholds) - set(known)):
            raise ValueError(f"no metric {', '.join(unknown)} in thresholds; there are {known}")
        return self


class Config(Settings):
    """Everything a pipeline can be told."""

    pipeline: PipelineSettings
    data: DataSettings
    image: ImageSettings = ImageSettings()
    triplets: TripletSettings = TripletSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    def custom_config(self, *tables: str) -> dict[str, Any]:
        """The named tables as plain values, for a node's `custom_config`."""
        return {table: getattr(self, table).model_dump(mode="json") for table in tables}


def config_path(name: str | None = None) -> Path:
    """Finds a configuration.

    Args:
        name: A TOML file or the name of a ready configuration; default: the environment variable
            `TRIPLET_CONFIG`, else `mnist-sample`.

    Returns:
        The path of an existing file.

    Raises:
        ConfigError: There is none.
    """
    name = name or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG
    for path in (Path(name), CONFIGS / f"{name}.toml"):
        if path.is_file():
            return path.resolve()
    ready = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.toml")))
    raise ConfigError(
        f"There is no configuration {name!r}. Give a TOML file or one of: {ready} "
        f"(by --config or the environment variable {CONFIG_VARIABLE})."
    )


def load_config(name: str | None = None) -> Config:
    """Reads and checks a configuration; see `config_path` for how it is found.

    Raises:
        ConfigError: Not TOML, an unknown key, a wrong type or an impossible value. The message
            lists every fault with its key and what is allowed.
    """
    path = config_path(name)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = "\n".join(f"  {_describe(fault)}" for fault in error.errors())
        raise ConfigError(f"{path} cannot be used:\n{faults}") from error


def _describe(fault: Any) -> str:
    """One line for one fault: key, what was found, what is allowed."""
    location = [
        part for part in fault["loc"] if not str(part).startswith(("function-", "literal["))
    ]
    key = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed here: {', '.join(_allowed_keys(location[:-1]))}"
    if fault["type"] == "missing":
        return f"{key}: is required"
    message = fault["msg"].removeprefix("Value error, ")
    return (
        f"{key}: {message}"
        if isinstance(fault["input"], dict)
        else f"{key}: {message} (found {fault['input']!r})"
    )


def _allowed_keys(location: list[Any]) -> list[str]:
    """The keys of the table at `location`."""
    table: type[Settings] = Config
    for part in location:
        if part not in table.model_fields:
            return sorted(Threshold.model_fields)  # a table of the dictionary of thresholds
        annotation = table.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            table = annotation
        else:
            table = get_args(annotation)[1]
    return sorted(table.model_fields)
