"""The configuration: a TOML file, checked completely, with messages that name the key."""

from __future__ import annotations

import datetime
import os
import tomllib
import urllib.parse
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from components.span_patterns import SpanPattern, date_to_span
from modules.contract import IMAGE, LABEL
from modules.retrieval_names import WITHOUT_DIRECTION, slice_threshold_names, threshold_names
from modules.settings import (
    ExportSettings,
    Fraction,
    ImageSettings,
    ModelSettings,
    Settings,
    TrainingSettings,
)

CONFIG_VARIABLE = "TRIPLET_CONFIG"
DEFAULT_CONFIG = "mnist-sample"
PROJECT = Path(__file__).resolve().parent.parent
CONFIGS = Path(__file__).resolve().parent / "configs"

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


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the file, the key and the remedy."""


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


class DataSettings(Settings):
    """`[data]`: where the labelled images are and how they are split.

    `train` and `eval` are glob patterns under `path` for `split = "given"`; `pattern` is the one
    for the splits by hash. They default to `train/*`, `eval/*` and `*` for record files, and to one
    level deeper for images in class folders.

    Patterns with `{SPAN}`, or `{YYYY}`, `{MM}` and `{DD}`, read one span per run, see
    `components.span_patterns`.
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
    window: Annotated[int, Field(ge=1, description="spans to train on, the last ones")] = 1
    evaluation_span: Annotated[
        int | datetime.date | None,
        Field(description="the span to evaluate on, a number or a day; default: the window"),
    ] = None

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

    @property
    def has_spans(self) -> bool:
        """Whether data arrives in spans."""
        return any(SpanPattern.parse(pattern).has_spans for pattern in self.patterns.values())

    @property
    def fixed_span(self) -> int | None:
        """`evaluation_span` as TFX counts spans: a day is its days since 1970-01-01."""
        span = self.evaluation_span
        return date_to_span(span) if isinstance(span, datetime.date) else span

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

    @model_validator(mode="after")
    def _spans_fit(self) -> DataSettings:
        patterns = [SpanPattern.parse(pattern) for pattern in self.patterns.values()]
        if len({pattern.kind for pattern in patterns}) > 1:
            raise ValueError("train and eval must have the same placeholders for spans")
        if not self.has_spans:
            if unused := {"window", "evaluation_span"} & self.model_fields_set:
                raise ValueError(
                    f"{', '.join(sorted(unused))} has no effect without spans; remove it, or put "
                    "{SPAN} or {YYYY}-{MM}-{DD} into the patterns, such as 'span-{SPAN}/*/*'"
                )
        elif self.evaluation_span is not None:
            dates = patterns[0].has_dates
            if isinstance(self.evaluation_span, datetime.date) != dates or self.fixed_span < 0:
                wanted = "a day, such as 2026-01-31," if dates else "a number, at least 0,"
                raise ValueError(
                    f"evaluation_span is {self.evaluation_span}, expected {wanted} with these "
                    "patterns"
                )
        return self


class Distances(Settings):
    """How far the values of a feature may be from those of other examples; 0 for any distance.

    For `label` the largest change of the share of a class (L-infinity norm; a class that is new
    counts as no change); for the numbers that StatisticsGen derives from the images the
    Jensen-Shannon divergence of their histograms, from 0 (same) to 1 (nothing in common). Sizes are
    off unless set: Transform resizes, and after one size a mixture with another (28 pixels, then
    half of them 32) counts as 1.
    """

    label: Fraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    width: Fraction = 0.0
    height: Fraction = 0.0
    channels: Fraction = 0.0

    def by_feature(self) -> dict[str, float]:
        """The thresholds by name of the feature, those that are on."""
        return {
            LABEL if name == "label" else f"{IMAGE}/{name}": value
            for name, value in self.model_dump().items()
            if value > 0
        }


class Drift(Distances):
    """`[validation.drift]`: from the same split of the previous span that passed.

    Real digits differ between spans of 100 (200, 1000) by at most .13 (.10, .03) in label and .11
    (.06, .03) in brightness and contrast, with an outlier by .12. Inverted ones have a brightness
    of 1.0, half as bright ones of .52 and a contrast of .95.
    """

    label: Fraction = 0.3
    brightness: Fraction = 0.25
    contrast: Fraction = 0.25


class Skew(Distances):
    """`[validation.skew]`: of train from eval of the same span.

    Off for labels, which differ by design when whole classes are held out. Two or four digits of
    ten differ from the others by up to .28 in brightness, the digit 1 alone by .54.
    """

    brightness: Fraction = 0.6
    contrast: Fraction = 0.6


class ValidationSettings(Settings):
    """`[validation]`: when new data is too different; comparators in a curated schema go first."""

    drift: Drift = Drift()
    skew: Skew = Skew()
    min_examples: Annotated[
        int, Field(ge=1, description="a split with fewer is not compared by these thresholds")
    ] = 100


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


Bound = Annotated[float | None, Field(allow_inf_nan=False)]
Drop = Annotated[float | None, Field(ge=0, allow_inf_nan=False)]


class Threshold(Settings):
    """What one metric of the candidate must reach to be blessed; see `modules.gate.Threshold`."""

    lower: Annotated[Bound, Field(description="the least value")] = None
    upper: Annotated[Bound, Field(description="the largest value")] = None
    max_drop: Annotated[
        Drop, Field(description="how much worse than the last blessed model it may be")
    ] = None
    max_relative_drop: Annotated[Drop, Field(description="the same as a fraction")] = None

    @model_validator(mode="after")
    def _something_can_pass(self) -> Threshold:
        if not self.model_fields_set:
            raise ValueError(f"needs at least one of {', '.join(Threshold.model_fields)}")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(
                f"nothing passes with lower = {self.lower} above upper = {self.upper}; swap them "
                "or remove one"
            )
        return self

    @property
    def compares(self) -> bool:
        """Whether it needs the last blessed model."""
        return self.max_drop is not None or self.max_relative_drop is not None


class EvaluationSettings(Settings):
    """`[evaluation]`: the metrics and the gate.

    `thresholds` bind to the whole eval split, `slice_thresholds` to every slice of a feature.
    Features other than `label` must be in the records (`[data] format = "tfrecord"`), one value of
    bytes or int64 each, and in the schema: `schema_file` is "inferred" or one's own.
    """

    ks: list[Annotated[int, Field(ge=1)]] = Field([1, 5, 10], min_length=1)
    slice_by: list[str] = Field([LABEL], description="features")
    gallery_split: Annotated[
        str | None, Field(min_length=1, description="split to search in; default: eval itself")
    ] = None
    verification: bool = False
    clustering: bool = False
    confidence: Literal["jackknife", "poisson_bootstrap"] | None = None
    thresholds: dict[str, Threshold] = Field(
        {"precision@1": Threshold(lower=0.5, max_drop=0.01)}, min_length=1
    )
    slice_thresholds: dict[str, dict[str, Threshold]] = Field({}, description="by feature")

    @model_validator(mode="after")
    def _thresholds_bind_to_something(self) -> EvaluationSettings:
        known = threshold_names(self.ks, self.verification, self.clustering)
        of_slices = slice_threshold_names(self.ks)
        tables = [("thresholds", self.thresholds, known)] + [
            (f"slice_thresholds.{feature}", table, of_slices)
            for feature, table in self.slice_thresholds.items()
        ]
        for name, table, allowed in tables:
            if unknown := sorted(set(table) - set(allowed)):
                raise ValueError(
                    f"no metric {', '.join(unknown)} to put into {name}; there are {allowed}"
                )
            for metric in sorted(WITHOUT_DIRECTION & set(table)):
                if table[metric].compares:
                    raise ValueError(
                        f"{name}.{metric}: neither way is better, so it has no max_drop and no "
                        "max_relative_drop; give it lower and upper"
                    )
        if missing := sorted(set(self.slice_thresholds) - set(self.slice_by)):
            raise ValueError(
                f"slice_thresholds has {', '.join(missing)}, which is not in slice_by "
                f"({', '.join(self.slice_by)})"
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


Cpu = Annotated[str, Field(pattern=r"^(\d+(\.\d+)?|\d+m)$", description="cores")]
Memory = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([KMGT]i?)?$", description="bytes, as 4Gi")]


class NodeResources(Settings):
    """What one node asks of the cluster where it differs from the others."""

    cpu: Cpu | None = None
    memory: Memory | None = None


class KubeflowSettings(Settings):
    """`[kubeflow]`: how the nodes run as pods of Kubeflow Pipelines; local runs ignore it.

    In the cluster `directory` takes the place of the project folder and of `[pipeline] directory`:
    relative paths in this file start there.
    """

    directory: Annotated[str, Field(pattern=r"^(/[^/]|gs://).*[^/]$")] = "/mnt/triplet"
    volume: Annotated[
        str | None,
        Field(description="ReadWriteMany claim at `directory`; default: triplet, none for gs://"),
    ] = None
    metadata: Annotated[
        str, Field(description="mysql://, postgresql:// or grpc://, HOST[:PORT][/DATABASE]")
    ] = "postgresql://triplet-metadata:5432/triplet"
    metadata_secret: Annotated[
        str | None, Field(description="Secret with the keys `username` and `password`")
    ] = "triplet-metadata"
    retries: Annotated[int, Field(ge=0, le=10, description="of a failed pod")] = 2
    cpu: Cpu = "1"
    memory: Memory = "4Gi"
    nodes: dict[str, NodeResources] = Field({}, description="by id of the node")
    accelerator: Annotated[str, Field(min_length=1, description="resource name")] = "nvidia.com/gpu"
    accelerators: Annotated[int, Field(ge=0, le=16, description="of the Trainer")] = 0

    @property
    def claim(self) -> str | None:
        """The volume claim that every pod mounts at `directory`."""
        return None if self.directory.startswith("gs://") else self.volume or "triplet"

    @model_validator(mode="after")
    def _storage_and_metadata_fit(self) -> KubeflowSettings:
        if self.directory.startswith("gs://") and self.volume:
            raise ValueError("volume has no effect with a gs:// directory; remove it")
        url = urllib.parse.urlsplit(self.metadata)
        if url.scheme not in ("mysql", "postgresql", "grpc") or not url.hostname:
            raise ValueError(
                f"metadata is {self.metadata!r}, expected mysql://HOST[:PORT]/DATABASE, "
                "postgresql://HOST[:PORT]/DATABASE or grpc://HOST[:PORT]"
            )
        if url.username or url.password:
            raise ValueError(
                "metadata must not hold a user or a password; put them into the Secret that "
                "`metadata_secret` names"
            )
        if (url.scheme == "grpc") == bool(url.path.strip("/")):
            raise ValueError("metadata needs a /DATABASE with mysql and postgresql, none with grpc")
        return self


class Config(Settings):
    """Everything a pipeline can be told."""

    pipeline: PipelineSettings
    data: DataSettings
    validation: ValidationSettings = ValidationSettings()
    image: ImageSettings = ImageSettings()
    triplets: TripletSettings = TripletSettings()
    model: PretrainedModelSettings = PretrainedModelSettings()
    training: TrainingSettings = TrainingSettings()
    export: ExportSettings = ExportSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()

    @model_validator(mode="after")
    def _images_fit_the_network(self) -> Config:
        self.model.check_image(self.image)
        return self

    @model_validator(mode="after")
    def _drift_needs_spans(self) -> Config:
        if "drift" in self.validation.model_fields_set and not self.data.has_spans:
            raise ValueError(
                "validation.drift has no effect unless the data arrives in spans: put {SPAN} or "
                "{YYYY}, {MM} and {DD} into the patterns of [data], or remove it"
            )
        return self

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
    return parse_config(values, str(path))


def parse_config(values: dict[str, Any], source: str) -> Config:
    """Checks the tables of a configuration.

    Args:
        values: As read from TOML.
        source: Where they come from, for the messages.

    Raises:
        ConfigError: As `load_config`.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = "\n".join(f"  {_describe(fault)}" for fault in error.errors())
        raise ConfigError(f"{source} cannot be used:\n{faults}") from error


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
    if not isinstance(fault["input"], dict):
        message = f"{message} (found {fault['input']!r})"
    return f"{key}: {message}" if key else message  # no key: two tables do not fit together


def _allowed_keys(location: list[Any]) -> list[str]:
    """The keys of the table at `location`."""
    kind: Any = Config
    for part in location:
        # A table of fixed keys, or a dictionary of tables.
        fixed = isinstance(kind, type) and issubclass(kind, Settings)
        kind = kind.model_fields[part].annotation if fixed else get_args(kind)[1]
    return sorted(kind.model_fields)
