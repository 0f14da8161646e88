"""`python -m pipeline rollback`: the previous blessed model is served again, and stays."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import click
import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.config import Config, load_config
from pipeline.metadata import Models, open_store
from pipeline.runtime import ConfigError, hold_lock, quiet_imports

NODE = "Rollback"
_SERVED = "served_version"


@dataclasses.dataclass(frozen=True)
class Rollback:
    """What was done.

    Attributes:
        version: The version that is served now.
        model: The Model artifact that it holds.
        revoked: Ids of the models that were blessed before.
        done_before: The served version held this model already, so nothing was pushed.
    """

    version: int
    model: proto.Artifact
    revoked: list[int]
    done_before: bool = False


@click.command("rollback")
@click.option("--config", "config_name", help="TOML file or name of a ready configuration.")
@click.option("--to", type=click.IntRange(min=0), metavar="VERSION", help="A version pushed once.")
def rollback_command(config_name: str | None, to: int | None) -> None:
    """Serve the previous blessed model again, as a new version.

    The blessing of every later model is revoked, so the next run compares with the model that is
    served again and trains on from it, and pushes nothing unless a new model passes. With --to
    VERSION it is the model of that version, also a later one, whose blessing it then has again.
    Each further rollback goes one model further back.
    """
    config = load_config(config_name)
    done = roll_back(config, to)
    if done.done_before:
        click.echo(f"Version {done.version} holds this model already: nothing to do.")
        return
    click.echo(
        f"Version {done.version} in {config.pipeline.serving_directory} is the model of "
        f"{done.model.uri}."
    )
    if done.revoked:
        click.echo(f"No longer blessed: {', '.join(f'model {i}' for i in done.revoked)}.")


def roll_back(config: Config, to: int | None = None) -> Rollback:
    """Pushes an earlier model as a new version, and revokes the blessings of all later ones.

    It is recorded as an execution `Rollback` with the model as its input and a PushedModel as its
    output. One that was killed is completed by the next call without `to`.

    Args:
        config: The pipeline.
        to: A version that was pushed; default: the latest model before the served one that is
            blessed.

    Raises:
        LockedError: A run or another command works on the pipeline.
        ConfigError: Nothing is served, there is no such model, or its files are gone.
    """
    with hold_lock(config, "rollback"):
        store = open_store(config, readonly=False)
        with quiet_imports():
            from components.pusher import versions

        found = versions(config.pipeline.serving_directory)
        models = Models(store, config.pipeline.name)
        started = _unfinished(store, config, found) if to is None else None
        if started:
            execution, target = started
        else:
            served = _served(models, found, config)
            target = models.by_id(models.of_version(to)) if to is not None else None
            if to is not None and target is None:
                raise ConfigError(f"No version {to} was pushed. {_choice(models)}")
            if target is None:
                target = _previous(models, served)
            if target.id == served:
                return Rollback(found[-1], target, [], done_before=True)
            _check_files(models, target)
            execution = _start(store, config, target, found[-1])
        return _finish(store, config, models, execution, target)


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
    if target.state != proto.Artifact.LIVE or not Path(_files(target)).is_dir():
        raise ConfigError(
            f"The files of the model to roll back to, {target.uri}, were removed. "
            f"{_choice(models, but=target.id)}"
        )


def _choice(models: Models, but: int | None = None) -> str:
    """Which versions `--to` takes."""
    known = [
        str(version)
        for version, model in sorted(models.versions().items())
        if model != but
        and (artifact := models.by_id(model)) is not None
        and artifact.state == proto.Artifact.LIVE
        and Path(_files(artifact)).is_dir()
    ]
    if not known:
        return "No other pushed model has its files."
    return f"Models with files, by version for --to: {', '.join(known)}."


def _files(model: proto.Artifact) -> str:
    return f"{model.uri}/Format-Serving"  # tfx.utils.path_utils.serving_model_dir


def _start(
    store: mlmd.MetadataStore, config: Config, target: proto.Artifact, served: int
) -> proto.Execution:
    """Records what is about to be done, so that a later call can complete it."""
    type_id = store.put_execution_type(proto.ExecutionType(name=NODE))
    execution = proto.Execution(type_id=type_id, last_known_state=proto.Execution.RUNNING)
    execution.custom_properties[_SERVED].string_value = str(served)
    contexts = [
        _context(store, "pipeline", config.pipeline.name),
        _context(store, "node", f"{config.pipeline.name}.{NODE}"),
    ]
    read = proto.Event(type=proto.Event.INPUT, path=_path("model"))
    (execution_id, _, _) = store.put_execution(execution, [(target, read)], contexts)
    return store.get_executions_by_id([execution_id])[0]


def _unfinished(
    store: mlmd.MetadataStore, config: Config, found: list[int]
) -> tuple[proto.Execution, proto.Artifact] | None:
    """A rollback that was killed, if no other version was pushed after it."""
    from components.pusher import same_files, version_path

    context = store.get_context_by_type_and_name("node", f"{config.pipeline.name}.{NODE}")
    executions = store.get_executions_by_context(context.id) if context else []
    for execution in executions:
        if execution.last_known_state != proto.Execution.RUNNING or not found:
            continue
        (read,) = (e.artifact_id for e in store.get_events_by_execution_ids([execution.id]))
        (target,) = store.get_artifacts_by_id([read])
        newest = version_path(config.pipeline.serving_directory, found[-1])
        before = execution.custom_properties[_SERVED].string_value
        if Path(_files(target)).is_dir() and (
            before == str(found[-1]) or same_files(_files(target), newest)
        ):
            return execution, target
        execution.last_known_state = proto.Execution.FAILED
        store.put_executions([execution])
    return None


def _finish(
    store: mlmd.MetadataStore,
    config: Config,
    models: Models,
    execution: proto.Execution,
    target: proto.Artifact,
) -> Rollback:
    """Pushes first: the model that misbehaves leaves service, whatever happens then."""
    from components.pusher import push

    base = config.pipeline.serving_directory
    try:
        version = push(_files(target), base, config.pipeline.keep_versions)
    except OSError:
        execution.last_known_state = proto.Execution.FAILED
        store.put_executions([execution])
        raise
    before = execution.custom_properties[_SERVED].string_value
    now = datetime.datetime.now().isoformat(" ", timespec="seconds")
    revoked = models.make_latest(
        target, f"revoked on {now}: rolled back from version {before} to the model of {version}"
    )
    _record(store, config, execution, version)
    return Rollback(version, target, revoked)


def _record(
    store: mlmd.MetadataStore, config: Config, execution: proto.Execution, version: int
) -> None:
    """Ends the execution, with the artifact that Pusher would have made."""
    pushed = proto.Artifact(
        type_id=store.get_artifact_type("PushedModel").id,
        uri=f"{config.pipeline.serving_directory}/{version}",
        state=proto.Artifact.LIVE,
    )
    pushed.custom_properties["pushed"].int_value = 1
    pushed.custom_properties["pushed_destination"].string_value = pushed.uri
    pushed.custom_properties["pushed_version"].string_value = str(version)
    execution.last_known_state = proto.Execution.COMPLETE
    made = proto.Event(type=proto.Event.OUTPUT, path=_path("pushed_model"))
    contexts = [_context(store, "pipeline", config.pipeline.name)]
    store.put_execution(execution, [(pushed, made)], contexts)


def _context(store: mlmd.MetadataStore, kind: str, name: str) -> proto.Context:
    found = store.get_context_by_type_and_name(kind, name)
    if found is None:
        type_id = store.put_context_type(proto.ContextType(name=kind), can_omit_fields=True)
        found = proto.Context(type_id=type_id, name=name)
    return found


def _path(key: str) -> proto.Event.Path:
    return proto.Event.Path(steps=[proto.Event.Path.Step(key=key), proto.Event.Path.Step(index=0)])
