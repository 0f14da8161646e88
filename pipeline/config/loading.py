"""The configuration: a TOML file, checked completely, with messages that name the key."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from modules.contract import GALLERY
from modules.settings import (
    AuditSettings,
    AugmentationSettings,
    EvaluationSettings,
    ExportSettings,
    ImageTable,
    ReportSettings,
    Settings,
    TrainingSettings,
    TripletSettings,
    ValidationSettings,
)
from pipeline.config.beam import BeamSettings
from pipeline.config.compatibility import LoggedQueriesSettings
from pipeline.config.data import DataSettings
from pipeline.config.index import GalleryIndexSettings
from pipeline.config.kubeflow import KubeflowSettings
from pipeline.config.model import PretrainedModelSettings
from pipeline.config.pipeline import PipelineSettings
from pipeline.config.retraining import RetrainingSettings
from pipeline.runtime import ConfigError

CONFIG_VARIABLE = "TRIPLET_CONFIG"
DEFAULT_CONFIG = "mnist-sample"
CONFIGS = Path(__file__).resolve().parent / "ready"


class Config(Settings):
    """Everything a pipeline can be told."""

    pipeline: PipelineSettings
    data: DataSettings
    validation: ValidationSettings = ValidationSettings()
    audit: AuditSettings = AuditSettings()
    image: ImageTable = ImageTable()
    triplets: TripletSettings = TripletSettings()
    model: PretrainedModelSettings = PretrainedModelSettings()
    training: TrainingSettings = TrainingSettings()
    export: ExportSettings = ExportSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    compatibility: LoggedQueriesSettings = LoggedQueriesSettings()
    report: ReportSettings = ReportSettings()
    index: GalleryIndexSettings = GalleryIndexSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    beam: BeamSettings = BeamSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()

    @model_validator(mode="after")
    def _images_fit_the_network(self) -> Config:
        self.model.check_image(self.image)
        return self

    @model_validator(mode="after")
    def _grey_images_have_no_colours(self) -> Config:
        if self.image.channels is not None:
            self.training.check_channels(self.image.channels)
        return self

    @model_validator(mode="after")
    def _several_machines_have_work(self) -> Config:
        cached = self.model.trainable == "head" and not self.training.changes_images
        if cached and self.training.workers is not None:
            raise ValueError(
                "training.distribution = 'multi_worker' is of no use with model.trainable = 'head' "
                "and no random changes: the features of the images are computed once, and what is "
                "left to train is small. Set distribution = 'one', and leave workers out"
            )
        return self

    @model_validator(mode="after")
    def _earlier_weights_know_their_images(self) -> Config:
        if not self.image.missing:
            return self
        missing = ", ".join(f"image.{key}" for key in self.image.missing)
        if self.pipeline.warm_start:
            raise ValueError(
                f"pipeline.warm_start = true needs {missing}: chosen from the data they may differ "
                "from those of the model that training starts from. Set them (the summary shows "
                "what an earlier run chose)"
            )
        if self.model.needs_known_image:
            raise ValueError(
                f"model.weights = {self.model.weights!r} needs {missing}: the weights of "
                f"{self.model.name} fit images of one size only. Set what they were trained with"
            )
        return self

    @model_validator(mode="after")
    def _own_code_runs(self) -> Config:
        if self.training.own_modules:
            from modules.losses import try_own_code  # loads TensorFlow

            try_own_code(self.training)
        return self

    @model_validator(mode="after")
    def _triplets_have_an_effect(self) -> Config:
        unused = sorted(self.triplets.of_triplets & self.triplets.model_fields_set)
        if self.training.batches == "classes" and unused:
            keys = ", ".join(f"triplets.{key}" for key in unused)
            raise ValueError(
                f"{keys} has no effect with training.batches = 'classes', which deals its batches "
                "itself; set training.batches = 'triplets', or remove it"
            )
        return self

    @model_validator(mode="after")
    def _suspects_come_from_the_audit(self) -> Config:
        if "suspects" in self.triplets.model_fields_set and not self.audit.enabled:
            raise ValueError(
                "triplets.suspects has no effect with audit.enabled = false, which finds none; "
                "remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _drift_needs_spans(self) -> Config:
        if "drift" in self.validation.model_fields_set and not self.data.has_spans:
            raise ValueError(
                "validation.drift has no effect unless the data arrives in spans: put {SPAN} or "
                "{YYYY}, {MM} and {DD} into the patterns of [data], or remove it"
            )
        return self

    @model_validator(mode="after")
    def _features_are_in_the_examples(self) -> Config:
        if self.data.format == "images" and self.evaluation.features:
            raise ValueError(
                "evaluation.slice_by and exclude_same have "
                f"{', '.join(sorted(self.evaluation.features))}, but images in class folders have "
                "labels only; use a sheet with such columns, data.format = 'csv' or 'parquet', or "
                "remove them"
            )
        return self

    @model_validator(mode="after")
    def _features_are_in_the_schema(self) -> Config:
        known = self.data.format != "tfrecord" or self.data.schema_file != "contract"
        if not known and self.evaluation.features:
            raise ValueError(
                "evaluation.slice_by and exclude_same have "
                f"{', '.join(sorted(self.evaluation.features))}, which the schema of the data "
                'contract lacks; set data.schema_file = "inferred" or to a file of your own, or '
                "remove them"
            )
        return self

    @model_validator(mode="after")
    def _gallery_is_a_split(self) -> Config:
        split, own = self.evaluation.gallery_split, self.data.gallery is not None
        splits = ["train", *([GALLERY] if own else [])]
        if split is not None and split not in splits:
            raise ValueError(
                f"evaluation.gallery_split is {split!r}, expected "
                f"{' or '.join(map(repr, splits))}: {GALLERY!r} is what the pattern data.gallery "
                "reads. Without gallery_split the eval split itself is searched"
            )
        if own and split != GALLERY:
            raise ValueError(
                "data.gallery has no effect without evaluation.gallery_split = 'gallery'; set it, "
                "or remove data.gallery"
            )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _head_learns_from_fixed_features(
        cls, values: Any, check: ModelWrapValidatorHandler[Self]
    ) -> Self:
        """Of a frozen backbone: without a word about augmentation, its features are kept.

        Images that change at random would need it in every step. So only what is set is done.
        """
        config = check(values)
        training = config.training
        unset = AugmentationSettings.model_fields.keys() - training.model_fields_set
        if config.model.trainable != "head" or not unset:
            return config
        off = {key: type(getattr(training, key))(0) for key in unset}
        training = training.model_copy(update=off)
        training.model_fields_set.difference_update(unset)
        given = config.model_fields_set.copy()
        config = config.model_copy(update={"training": training})
        config.model_fields_set.intersection_update(given)
        return config

    @model_validator(mode="after")
    def _false_promotions_can_be_kept(self) -> Config:
        if self.retraining.false_promotions_per_year is None:
            return self
        if not any(
            threshold.asks_interval and threshold.undecided == "refuse"
            for threshold in self.evaluation.thresholds.values()
        ):
            raise ValueError(
                "retraining.false_promotions_per_year cannot be kept by thresholds that chance can "
                "pass: give one of evaluation.thresholds better = true or no_worse, and leave its "
                'undecided at "refuse"'
            )
        if "change_level" in self.evaluation.model_fields_set:
            raise ValueError(
                "evaluation.change_level follows from retraining.false_promotions_per_year; remove "
                "one of them"
            )
        return self

    @model_validator(mode="after")
    def _skipping_needs_spans(self) -> Config:
        if self.retraining.tolerated_drop is not None and not self.data.has_spans:
            raise ValueError(
                "retraining.tolerated_drop has no effect unless the data arrives in spans: put "
                "{SPAN} or {YYYY}, {MM} and {DD} into the patterns of [data], or remove it"
            )
        return self

    @property
    def judged_by(self) -> EvaluationSettings:
        """`[evaluation]` with the level of intervals that `[retraining]` asks for."""
        level = self.retraining.change_level
        update = {} if level is None else {"change_level": level}
        return self.evaluation.model_copy(update=update)

    @property
    def in_cluster(self) -> bool:
        """Whether pods run the nodes, see `pipeline.config.cluster_config`."""
        return False

    @property
    def database(self) -> str:
        """Where the metadata are: the SQLite file, in the cluster a URL."""
        return self.pipeline.metadata

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
        values = tomllib.loads(
            path.read_text(encoding="utf-8-sig")
        )  # some editors begin with a mark
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
