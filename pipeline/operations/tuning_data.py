"""The data of a search: the first nodes of the pipeline, run in a folder of their own."""

from __future__ import annotations

from typing import NamedTuple

from modules.contract import VALIDATION
from pipeline.config import Config, RetrainingSettings
from pipeline.metadata import latest_run
from pipeline.runtime import PipelineError, hold_lock

_TRAIN = "train"
_LAST_NODES = ["Transform", "TripletGen"]


class Prepared(NamedTuple):
    """`transform_graph`: its folder. `train_files`, `validation_files`: globs of TripletGen's."""

    transform_graph: str
    train_files: list[str]
    validation_files: list[str]


def of_search(config: Config) -> Config:
    """The same pipeline in the folder `tuning` of its own.

    There its runs are no runs of the pipeline: history, rollbacks and alarms stay as they are, and
    so does the cache. Nothing there starts from an earlier model.
    """
    folder = f"{config.pipeline.directory}/{config.pipeline.name}"
    settings = config.pipeline.model_copy(
        update={"directory": folder, "name": "tuning", "warm_start": False}
    )
    # Nor is anything skipped, and false promotions are the Evaluator's.
    return config.model_copy(update={"pipeline": settings, "retraining": RetrainingSettings()})


def prepare(config: Config) -> Prepared:
    """Runs ExampleGen to TripletGen; what has not changed since the last search is cached.

    Raises:
        LockedError: Another search of this pipeline does so now.
        NodeFailedError: A node failed, such as one without data.
    """
    from tfx.orchestration.pipeline import RunOptions

    from pipeline.definition import create_pipeline
    from pipeline.local_runner import LocalRunner

    config = of_search(config)
    with hold_lock(config, "tune"):
        LocalRunner(config).run(
            create_pipeline(config), run_options=RunOptions(to_nodes=_LAST_NODES)
        )
    uris = {node.node: node.uris for node in latest_run(config).nodes}
    try:
        (graph,) = uris["Transform"]["transform_graph"]
        (triplets,) = uris["TripletGen"]["triplets"]
    except (KeyError, ValueError) as error:
        raise PipelineError(
            f"The run in {config.pipeline.directory}/tuning has no transform graph or no triplets. "
            "Remove that folder and try again."
        ) from error
    files = ([f"{triplets}/Split-{split}/*"] for split in (_TRAIN, VALIDATION))
    return Prepared(graph, *files)
