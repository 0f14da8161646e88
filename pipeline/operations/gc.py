"""`python -m pipeline gc`: removes what nothing refers to any more."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import click
import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from pipeline.config import Config, load_config
from pipeline.metadata import open_store
from pipeline.operations import gc_files
from pipeline.runtime import ConfigError, hold_lock, quiet_imports


@dataclasses.dataclass(frozen=True)
class Plan:
    """What goes and what stays.

    Attributes:
        artifacts: The artifacts to mark as deleted.
        removed: Folders and files to remove, with their bytes.
        kept: Folders of artifacts that stay, with their bytes and the reason.
    """

    artifacts: list[proto.Artifact]
    removed: dict[Path, int]
    kept: dict[Path, tuple[int, str]]


@click.command("gc")
@click.option("--config", "config_name", help="TOML file or name of a ready configuration.")
@click.option(
    "--keep", default=10, show_default=True, metavar="N", type=click.IntRange(min=1),
    help="Keep everything of the last N runs.",
)  # fmt: skip
@click.option("--delete", is_flag=True, help="Do it; without this only the plan is shown.")
def gc_command(config_name: str | None, keep: int, delete: bool) -> None:
    """Remove artifacts of old runs that nothing needs any more, and what killed runs have left.

    What stays: everything of the last N runs; all that the next run may find in its cache; the last
    blessed models, what they started from, and the models in the serving folder; the spans to train
    on, evaluate on and compare with. The history stays complete, it is in the metadata database.
    """
    config = load_config(config_name)
    with hold_lock(config, "gc") if delete else contextlib.nullcontext():
        store = open_store(config, readonly=not delete)
        plan = make_plan(store, config, keep)
        if delete:
            carry_out(store, plan)
    _show(plan, Path(config.pipeline.root), done=delete)


def make_plan(store: mlmd.MetadataStore, config: Config, keep_runs: int) -> Plan:
    """Decides what may go; changes nothing.

    Args:
        store: The metadata database.
        config: The pipeline.
        keep_runs: Of so many of the latest runs everything stays, at least 1.

    Raises:
        ConfigError: The artifacts are not in a local folder.
    """
    if "://" in config.pipeline.root:
        raise ConfigError(
            f"gc works on local folders, not on {config.pipeline.root}. Set a lifecycle rule for "
            "the bucket that keeps more than the last blessed models and the window of spans."
        )
    with quiet_imports():
        from pipeline.operations.gc_plan import Needed

    root = Path(config.pipeline.root)
    needed = Needed(store, config, keep_runs)
    kept: dict[Path, tuple[int, str]] = {}
    for artifact, reason in needed.reasons.items():
        if folder := gc_files.output_folder(root, needed.artifacts[artifact].uri):
            kept.setdefault(folder, (gc_files.size(folder), reason))
    # Whatever else the database knows, of another pipeline or in a state of its own, stays.
    deleted = set()
    for artifact in store.get_artifacts():
        folder = gc_files.output_folder(root, artifact.uri)
        if folder and artifact.state == proto.Artifact.DELETED:
            deleted.add(folder)
        elif folder and artifact.id not in needed.artifacts:
            kept.setdefault(folder, (gc_files.size(folder), "of another pipeline, or unfinished"))
    going = [
        artifact
        for artifact in needed.artifacts.values()
        if artifact.id not in needed.reasons
        and (folder := gc_files.output_folder(root, artifact.uri))
        and folder not in kept
    ]
    gone = {gc_files.output_folder(root, artifact.uri) for artifact in going} | deleted
    left = [
        path
        for path in gc_files.output_folders(root)
        if path not in kept and (path in gone or gc_files.is_old(path))
    ]
    mentioned = _mentioned(needed.executions)
    left += [
        path
        for path in gc_files.temporary(root)
        if gc_files.is_old(path)
        and not (path.parent.name == gc_files.WHEELS and path.name in mentioned)
    ]
    return Plan(going, {path: gc_files.size(path) for path in left}, kept)


def carry_out(store: mlmd.MetadataStore, plan: Plan) -> None:
    """Removes what a plan names; the lock must be held since it was made.

    First the database says that the artifacts are gone: TFX's cache and resolvers take only those
    that are live, so a run never gets one whose files are missing, also when this is killed in
    between. The next call removes what was left then.
    """
    for artifact in plan.artifacts:
        artifact.state = proto.Artifact.DELETED
    if plan.artifacts:
        store.put_artifacts(plan.artifacts)
    for path in plan.removed:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _mentioned(executions: Iterable[proto.Execution]) -> set[str]:
    """Names of the packed modules that executions were told to use."""
    return {
        Path(value.string_value).name
        for execution in executions
        for value in (*execution.properties.values(), *execution.custom_properties.values())
        if value.string_value.endswith(".whl")
    }


def _show(plan: Plan, root: Path, *, done: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(title="Removed" if done else "Would be removed", title_justify="left")
    for column in ("what", "which"):
        table.add_column(column)
    table.add_column("size", justify="right")
    groups: dict[str, dict[str, int]] = defaultdict(dict)
    for path, size in plan.removed.items():
        groups[str(path.parent.relative_to(root))][path.name] = size
    for group, sizes in groups.items():
        table.add_row(group, ", ".join(sizes), decimal(sum(sizes.values())))
    if plan.removed:
        console.print(table)
    reasons, bytes_kept = Counter[str](), Counter[str]()
    for size, reason in plan.kept.values():
        reasons[reason] += 1
        bytes_kept[reason] += size
    table = Table(title="Stays", title_justify="left")
    table.add_column("why")
    table.add_column("artifacts", justify="right")
    table.add_column("size", justify="right")
    for reason, count in reasons.items():
        table.add_row(reason, str(count), decimal(bytes_kept[reason]))
    console.print(table)
    total = decimal(sum(plan.removed.values()))
    if not plan.removed:
        console.print("Nothing to remove.")
    elif done:
        console.print(f"Removed {total}, {len(plan.artifacts)} artifacts.")
    else:
        console.print(
            f"{total}, {len(plan.artifacts)} artifacts. Nothing was changed; --delete does it."
        )
