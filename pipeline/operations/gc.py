"""Removes what nothing refers to any more."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto
from rich.filesize import decimal
from rich.table import Table

from components.metadata import all_artifacts
from pipeline.config import Config
from pipeline.metadata import check_folder, hold_pipeline, mark_deleted, open_store
from pipeline.operations import gc_files
from pipeline.operations.leftovers import settle
from pipeline.runtime import ConfigError, Terminal, quiet_imports


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


def collect(config: Config, keep_runs: int, *, delete: bool) -> Plan:
    """Decides what may go, and removes it if asked to.

    Args:
        config: The pipeline, here or in the cluster.
        keep_runs: Of so many of the latest runs everything stays, at least 1.
        delete: Whether to remove it.

    Raises:
        ConfigError: The artifacts are not in a folder that this machine sees.
        LockedError: A run or another command works on the pipeline; only with `delete`.
        NotRunError: It has not run yet.
    """
    _check_root(config)
    if not delete:
        return make_plan(open_store(config, readonly=True), config, keep_runs)
    with hold_pipeline(config, "gc") as store:
        settle(store, config)
        plan = make_plan(store, config, keep_runs)
        carry_out(store, plan)
        return plan


def _check_root(config: Config) -> None:
    root = config.pipeline.root
    if "://" in root:
        raise ConfigError(
            f"gc works on local folders, not on {root}. Set a lifecycle rule for the bucket that "
            "keeps more than the last blessed models and the window of spans."
        )
    check_folder(config)


def make_plan(store: mlmd.MetadataStore, config: Config, keep_runs: int) -> Plan:
    """Decides what may go; changes nothing.

    Args:
        store: The metadata database.
        config: The pipeline.
        keep_runs: Of so many of the latest runs everything stays, at least 1.

    Raises:
        ConfigError: The artifacts are not in a local folder.
    """
    _check_root(config)
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
    for artifact in all_artifacts(store):
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
    left += [path for path in gc_files.temporary(root) if gc_files.is_old(path)]
    return Plan(going, {path: gc_files.size(path) for path in left}, kept)


def carry_out(store: mlmd.MetadataStore, plan: Plan) -> None:
    """Removes what a plan names; the lock must be held since it was made.

    First the database says that the artifacts are gone: TFX's cache and resolvers take only those
    that are live, so a run never gets one whose files are missing, also when this is killed in
    between. The next call removes what was left then.
    """
    mark_deleted(store, plan.artifacts)
    for path in plan.removed:
        shutil.rmtree(path)


def show_plan(plan: Plan, config: Config, *, done: bool) -> None:
    """Prints what goes, or is gone, and what stays.

    Args:
        plan: See `collect`.
        config: The pipeline.
        done: Whether it was carried out.
    """
    root = Path(config.pipeline.root)
    console = Terminal(highlight=False, soft_wrap=True)
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
