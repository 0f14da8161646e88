"""Serves the previous blessed model again, so that it stays."""

from __future__ import annotations

import dataclasses
import datetime

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import Models, serving_files, update_execution
from modules.storage import compare_checksums
from pipeline.config import Config
from pipeline.metadata import (
    close_execution,
    end_rollback,
    extras_to_push,
    hold_pipeline,
    make_latest,
    recorded_checksums,
    served_before,
    start_rollback,
    unfinished_rollbacks,
)
from pipeline.runtime import ConfigError, quiet_imports


@dataclasses.dataclass(frozen=True)
class Rollback:
    """What was done.

    Attributes:
        version: The version that is served now.
        model: The Model artifact that it holds.
        revoked: Ids of the models that were blessed before.
        done_before: The served version held this model already, so nothing was pushed.
        missing: What lay beside the model when it was pushed, and is gone.
        completed: An earlier rollback was killed; this call has done the rest of it.
    """

    version: int
    model: proto.Artifact
    revoked: list[int]
    done_before: bool = False
    missing: list[str] = dataclasses.field(default_factory=list)
    completed: bool = False


def roll_back(config: Config, to: int | None = None) -> Rollback:
    """Pushes an earlier model as a new version, and revokes the blessings of all later ones.

    With it goes again what lay beside it when it was pushed, such as its operating point.

    It stands in the metadata as an execution `Rollback` with the model as its input and a
    PushedModel as its output. One that was killed is completed by the next call without `to`,
    unless something was pushed after it or the pipeline has run: then it is closed.

    Args:
        config: The pipeline, here or in the cluster.
        to: A version that was pushed; default: the latest model before the served one that is
            blessed.

    Raises:
        LockedError: A run or another command works on the pipeline.
        NotRunError: It has not run yet.
        ConfigError: Nothing is served, there is no such model, or its files are gone or damaged.
    """
    with hold_pipeline(config, "rollback") as store:
        with quiet_imports():
            from components.pusher import versions

        found = versions(config.pipeline.serving_directory)
        models = Models(store, config.pipeline.name)
        if to is None and (started := _unfinished(store, config, models, found)):
            done = _finish(store, config, models, *started)
            return dataclasses.replace(done, completed=True)
        settle_rollbacks(store, config)
        models = Models(store, config.pipeline.name)
        served = _served(models, found, config)
        target = _pushed(models, to) if to is not None else _previous(models, served)
        if target.id == served:
            return Rollback(found[-1], target, [], done_before=True)
        _check_files(models, target)
        execution = start_rollback(
            store,
            config.pipeline.name,
            target,
            found[-1],
            models.extras_of(target.id, to),
            models.checksums_of(target.id, to),
        )
        return _finish(store, config, models, execution, target)


def settle_rollbacks(store: mlmd.MetadataStore, config: Config) -> None:
    """Closes killed rollbacks; one that had pushed is completed, as what it pushed is served.

    Args:
        store: The metadata store, for writing.
        config: The pipeline, whose lock must be held.
    """
    if not unfinished_rollbacks(store, config.pipeline.name):
        return
    with quiet_imports():
        from components.pusher import versions

    found = versions(config.pipeline.serving_directory)
    models = Models(store, config.pipeline.name)
    if started := _unfinished(store, config, models, found):
        execution, target = started
        if served_before(execution) == found[-1]:
            close_execution(store, execution)
        else:
            _finish(store, config, models, execution, target)


def _served(models: Models, found: list[int], config: Config) -> int:
    """The model of the newest version in the serving folder."""
    if not found:
        raise ConfigError(
            f"Nothing is served: no version in {config.pipeline.serving_directory}. Run the "
            "pipeline until it pushes a model."
        )
    model = models.of_version(found[-1])
    if model is None:
        raise ConfigError(
            f"Version {found[-1]} in {config.pipeline.serving_directory} was not pushed by this "
            f"pipeline, so there is nothing before it. {_choice(models)}"
        )
    return model


def _pushed(models: Models, version: int) -> proto.Artifact:
    target = models.by_id(models.of_version(version))
    if target is None:
        raise ConfigError(f"No version {version} was pushed. {_choice(models)}")
    return target


def _previous(models: Models, served: int) -> proto.Artifact:
    earlier = [model for model in models.blessed() if model < served]
    target = models.by_id(max(earlier, default=None))
    if target is None:
        raise ConfigError(
            "There is no earlier blessed model than the served one, so there is nothing to roll "
            f"back to. {_choice(models)}"
        )
    return target


def _check_files(models: Models, target: proto.Artifact) -> None:
    if not _has_files(target):
        raise ConfigError(
            f"The files of the model to roll back to, {target.uri}, were removed. "
            f"{_choice(models, but=target.id)}"
        )


def _choice(models: Models, but: int | None = None) -> str:
    """Which versions `--to` takes."""
    known = [
        str(version)
        for version, model in sorted(models.versions().items())
        if model != but and (artifact := models.by_id(model)) is not None and _has_files(artifact)
    ]
    if not known:
        return "No other pushed model has its files."
    return f"Models with files, by version for --to: {', '.join(known)}."


def _has_files(model: proto.Artifact) -> bool:
    from tfx.dsl.io import fileio

    return model.state == proto.Artifact.LIVE and fileio.isdir(serving_files(model.uri))


def _unfinished(
    store: mlmd.MetadataStore, config: Config, models: Models, found: list[int]
) -> tuple[proto.Execution, proto.Artifact] | None:
    """The latest rollback, if it was killed and nothing was pushed after it; closes all others.

    What is served then is what was served before it, or a version that the metadata do not know.
    """
    from components.pusher import same_files, version_path

    chosen = None
    for execution, target in reversed(unfinished_rollbacks(store, config.pipeline.name)):
        is_next = chosen is None and bool(found) and _has_files(target)
        if is_next and served_before(execution) != found[-1]:
            newest = version_path(config.pipeline.serving_directory, found[-1])
            is_next = models.of_version(found[-1]) is None and same_files(
                serving_files(target.uri), newest, _extras(execution)[0]
            )
        if is_next:
            chosen = execution, target
        else:
            close_execution(store, execution)
    return chosen


def _extras(execution: proto.Execution) -> tuple[dict[str, str], list[str]]:
    """What to push beside the model, and what of it is gone; the model itself must not wait."""
    from tfx.dsl.io import fileio

    wanted = extras_to_push(execution)
    found = {name: path for name, path in wanted.items() if fileio.exists(path)}
    return found, sorted(wanted.keys() - found.keys())


def _check_undamaged(
    models: Models,
    execution: proto.Execution,
    target: proto.Artifact,
    extras: dict[str, str],
    missing: list[str],
) -> None:
    """Compares the files to push with what was pushed of them the first time."""
    from components.pusher import version_files

    wanted = {
        name: value
        for name, value in recorded_checksums(execution).items()
        if not any(name == one or name.startswith(f"{one}/") for one in missing)
    }
    model = serving_files(target.uri)
    if faults := compare_checksums(wanted, version_files(model, extras)):
        raise ConfigError(
            f"The model to roll back to, {model}, is not what was pushed: {', '.join(faults)}. "
            f"{_choice(models, but=target.id)}"
        )


def _finish(
    store: mlmd.MetadataStore,
    config: Config,
    models: Models,
    execution: proto.Execution,
    target: proto.Artifact,
) -> Rollback:
    """Pushes first: the model that misbehaves leaves service, whatever happens then."""
    from components.pusher import UnusableModelError, push, try_model, version_path

    base, model = config.pipeline.serving_directory, serving_files(target.uri)
    try:
        extras, missing = _extras(execution)
        _check_undamaged(models, execution, target, extras, missing)
        version = push(model, base, config.pipeline.keep_versions, extras, try_model)
    except (OSError, ConfigError, UnusableModelError) as error:
        update_execution(store, execution, proto.Execution.FAILED)
        if isinstance(error, UnusableModelError):
            raise ConfigError(f"{error} {_choice(models, but=target.id)}") from error
        raise
    before = served_before(execution)
    now = datetime.datetime.now().isoformat(" ", timespec="seconds")
    reason = f"revoked on {now}: rolled back from version {before} to the model of {version}"
    revoked = make_latest(store, models, target, reason)
    path = version_path(base, version)
    end_rollback(store, config.pipeline.name, execution, version, path)
    return Rollback(version, target, revoked, missing=missing)
