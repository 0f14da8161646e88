"""The compiled pipeline by kfp's own local runner, every node in a container of the image.

Needs a Docker daemon and the image: `make image`, then name it in TRIPLET_IMAGE.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kfp import components, local
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.config.paths import PROJECT
from pipeline.datasets import write_dataset
from pipeline.metadata.connection import PASSWORD, USERNAME, connect_store
from tests import databases
from tests.real_data import digits

pytestmark = pytest.mark.slow

# Of nobody in the image; only root can hand the folder over to it.
UID = 23456 if os.geteuid() == 0 else os.geteuid()


@pytest.fixture
def image() -> str:
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker daemon answers: {error}")
    name = os.environ.get("TRIPLET_IMAGE", "")
    if name not in {tag for found in client.images.list() for tag in found.tags}:
        pytest.skip(f"TRIPLET_IMAGE={name!r} is no image of this Docker; see `make image`")
    return name


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's, which no other user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="containers-"))
    folder.chmod(0o755)
    before = os.umask(0o002)  # kfp makes folders for the outputs; the containers write into them
    yield folder
    os.umask(before)
    shutil.rmtree(folder)


def _forget_conditions(package: Path) -> None:
    """Kfp's local runner runs a task with a condition last, whatever waits for it.

    Without it the tasks of a run without news start, and find their nodes done.
    """
    spec, platforms = yaml.safe_load_all(package.read_text())
    for task in spec["root"]["dag"]["tasks"].values():
        task.pop("triggerPolicy", None)
    package.write_text(yaml.safe_dump_all([spec, platforms]))


def test_two_runs_in_containers_as_any_user_on_a_read_only_root(image, folder, monkeypatch) -> None:
    monkeypatch.setenv(USERNAME, databases.USER)
    monkeypatch.setenv(PASSWORD, databases.PASSWORD)
    volume = folder / "volume"
    write_dataset(
        volume / "data",
        {
            split: [(image, label.decode(), name.decode()) for image, label, name in rows]
            for split, rows in {"train": digits(30), "eval": digits(15, start=30)}.items()
        },
    )
    if os.geteuid() == 0:
        for path in (volume, *volume.rglob("*")):
            os.chown(path, UID, 0)
    with databases.postgresql() as url:
        config, package = folder / "config.toml", folder / "pipeline.yaml"
        config.write_text(f"""
[pipeline]
name = "containers"
[data]
path = "{volume}/data"
[training]
steps = 20
validate_every = 20
projector = false
[export]
tflite = false
[evaluation.thresholds."precision@1"]
lower = 0.2
[kubeflow]
directory = "{volume}"
metadata = "{url}"
""")
        subprocess.run(
            [
                sys.executable, "-m", "kubeflow", "compile", "--config", config,
                "--image", image, "--output", package,
            ],
            cwd=PROJECT, check=True,
        )  # fmt: skip
        _forget_conditions(package)
        # kfp mounts the pipeline root at the same path: it stands for the volume.
        local.init(
            local.DockerRunner(
                network_mode="host",
                user=f"{UID}:0",
                read_only=True,
                tmpfs={"/tmp": "exec"},
                cap_drop=["ALL"],
                environment={USERNAME: databases.USER, PASSWORD: databases.PASSWORD},
            ),
            pipeline_root=str(volume),
        )
        pipeline = components.load_component_from_file(str(package))
        pipeline()
        assert len(list((volume / "containers" / "serving").glob("[0-9]*"))) == 1
        pipeline()
        store = connect_store(url)
        kind = next(k for k in store.get_context_types() if k.name == "pipeline_run")
        runs = store.get_contexts_by_type(kind.name)
        assert len(runs) == 2
        states = [
            {
                e.last_known_state
                for e in store.get_executions_by_context(run.id)
                if "Resolver" not in store.get_execution_types_by_id([e.type_id])[0].name
            }
            for run in sorted(runs, key=lambda run: run.id)
        ]
        complete, cached = proto.Execution.COMPLETE, proto.Execution.CACHED
        assert states == [{complete}, {cached}]
        assert len(list((volume / "containers" / "serving").glob("[0-9]*"))) == 1

        # A node that fails: the run fails, and nothing after it starts.
        with pytest.raises(RuntimeError):
            pipeline(data_path=f"{volume}/nothing")
        failed = max(store.get_contexts_by_type(kind.name), key=lambda run: run.id)
        last = {
            store.get_execution_types_by_id([e.type_id])[0].name.rpartition(".")[2]: e
            for e in store.get_executions_by_context(failed.id)
        }
        example_gen = last.pop("RecordExampleGen")
        assert example_gen.last_known_state == proto.Execution.FAILED
        assert "nothing" in example_gen.custom_properties["error"].string_value
        assert set(last) <= {"ImportSchemaGen"}  # which needs no data
