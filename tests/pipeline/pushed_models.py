"""Three models that real runs have trained and pushed, once for all tests that need some."""

from __future__ import annotations

import shutil
from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.pusher.versioned_push import same_files
from modules.compatibility import COMPATIBILITY_FOLDER, read_compatibility
from modules.gate import OPERATING_POINT_FILE
from modules.index import check_same_model, index_folder, model_fingerprint
from pipeline.metadata import Run
from tests.pipeline.local_runs import LocalPipeline
from tests.real_data import digits


class PushedModels:
    """A pipeline after one, two and three runs; each of them can be had again.

    The models have an operating point and were compared on logged queries.

    Attributes:
        runs: The three runs.
        tables: What the configuration says besides.
    """

    def __init__(self, root: Path) -> None:
        # The metadata know absolute paths, so what is kept comes back to where it was made.
        self._here, self._kept = root / "here", root / "kept"
        logged = self._here / "logged"
        logged.mkdir(parents=True)
        for number, (image, *_) in enumerate(digits(1, start=45)):
            (logged / f"{number}.png").write_bytes(image)
        self.tables = f"""
[evaluation]
verification = true
false_accept_rate = 0.05
max_threshold_shift = 10.0
[compatibility]
queries = "{logged}"
"""
        self._pipeline = LocalPipeline(self._here)
        self.runs: list[Run] = []
        for steps in (20, 40, 60):
            self.configure(steps)
            self.runs.append(self._pipeline.run())
            shutil.copytree(self._here, self._kept / str(len(self.runs)))

    def configure(self, steps: int, lower: float = 0.2) -> None:
        """Other steps are other models, another threshold is another gate."""
        self._pipeline.configure(steps, lower=lower, tables=self.tables)

    def after(self, runs: int) -> LocalPipeline:
        """The pipeline as it was after so many runs."""
        shutil.rmtree(self._here)
        shutil.copytree(self._kept / str(runs), self._here)
        return self._pipeline


def served_files(pipeline: LocalPipeline) -> str:
    return str(pipeline.serving / str(pipeline.served()[-1]))


def serves(pipeline: LocalPipeline, model_uri: str) -> bool:
    """Whether a model is served, and with its own index, and with nothing besides."""
    served = served_files(pipeline)
    extras = {"index": index_folder(served)}
    # The push has put gallery and threshold where the Trainer left empty files.
    extras |= {f"assets/{path.name}": str(path) for path in Path(served, "assets").iterdir()}
    if (point := Path(served, OPERATING_POINT_FILE)).exists():
        extras[OPERATING_POINT_FILE] = str(point)
    if (beside := Path(served, COMPATIBILITY_FOLDER)).exists():  # it was compared with another
        extras[COMPATIBILITY_FOLDER] = str(beside)
        assert read_compatibility(str(beside)).candidate == model_fingerprint(served)
    return same_files(model_files(model_uri), served, extras) and bool(check_same_model(served))


def model_files(uri: str) -> str:
    return f"{uri}/Format-Serving"


def lineage(store: mlmd.MetadataStore, version: int) -> tuple[str, list[str], list[str]]:
    """Type of the execution that pushed a version, with the uris that it read and made."""
    for artifact in store.get_artifacts_by_type("PushedModel"):
        if artifact.custom_properties["pushed_version"].string_value == str(version):
            (event,) = store.get_events_by_artifact_ids([artifact.id])
            (execution,) = store.get_executions_by_id([event.execution_id])
            assert execution.last_known_state == proto.Execution.COMPLETE
            (kind,) = store.get_execution_types_by_id([execution.type_id])
            events = store.get_events_by_execution_ids([execution.id])
            by_type: dict[int, list[str]] = {}
            for one in events:
                (related,) = store.get_artifacts_by_id([one.artifact_id])
                by_type.setdefault(one.type, []).append(related.uri)
            return kind.name, by_type[proto.Event.INPUT], by_type[proto.Event.OUTPUT]
    raise AssertionError(version)
