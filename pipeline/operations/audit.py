"""What is wrong with the data of the latest run: its audit, or one that is made anew."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.metadata import Models, PipelineRun, Values, read_pipeline_runs, serving_files
from modules.audit import AuditReport, read_audit
from pipeline.config import Config
from pipeline.metadata import open_store
from pipeline.runtime import NotRunError, quiet_imports

_NODE = "DataAudit"


class Audited(NamedTuple):
    """An audit and what it looked at.

    Attributes:
        report: What was found.
        files: (split, path) of the examples.
        anew: Why it was made for the occasion; None if it is that of the run.
    """

    report: AuditReport
    files: list[tuple[str, str]]
    anew: str | None = None


def audit_latest(config: Config) -> Audited:
    """Reads the audit of the latest run that has one, or makes it anew.

    It is made anew, in memory and in a temporary folder, where the run was stopped by it, and where
    it had no model and there is a blessed one now.

    Raises:
        NotRunError: No run has come to the audit, or its examples are gone.
    """
    store = open_store(config, readonly=True)
    runs = read_pipeline_runs(store, config.pipeline.name)
    run = next((one for one in reversed(runs) if _NODE in one.nodes), None)
    if run is None:
        raise NotRunError(
            f"No run of {config.pipeline.name!r} has audited its data. Run the pipeline, with "
            "[audit] enabled = true, which is the default."
        )
    models = Models(store, config.pipeline.name)
    latest = models.by_id(max(models.blessed(), default=None)) if config.audit.use_model else None
    model = serving_files(latest.uri) if latest else None
    files = _files(run)
    made = run.nodes[_NODE].made.get("audit", [])
    with quiet_imports(), contextlib.suppress(OSError):
        if made:
            report = read_audit(str(made[0]["uri"]))
            if report.compared or model is None:
                return Audited(report, files)
    anew = "its model was not there yet" if made else "the run was stopped"
    with quiet_imports():
        return Audited(_audit(config, files, model, run), files, anew)


def _examples(run: PipelineRun, key: str) -> list[Values]:
    return run.nodes[_NODE].read.get(key, [])


def _files(run: PipelineRun) -> list[tuple[str, str]]:
    with quiet_imports():
        from tfx.types import Artifact, standard_artifacts

        from components.data_audit import split_files

        def artifacts(key: str) -> Iterator[Artifact]:
            for values in _examples(run, key):
                one = standard_artifacts.Examples()
                one.uri, one.split_names = str(values["uri"]), str(values["split_names"])
                yield one

        files = split_files(list(artifacts("examples")), list(artifacts("evaluated")))
    if not files:
        uris = ", ".join(str(one["uri"]) for one in _examples(run, "examples"))
        raise NotRunError(f"The examples of the run are gone: {uris}. Run the pipeline again.")
    return files


def _audit(
    config: Config, files: list[tuple[str, str]], model: str | None, run: PipelineRun
) -> AuditReport:
    import apache_beam as beam

    from components.data_audit import audit_images

    images = [one.get("images") for key in ("examples", "evaluated") for one in _examples(run, key)]
    total = sum(int(n) for n in images if n) if all(images) else None
    where = config.beam.of(_NODE)
    where.check_reachable()
    # Workers elsewhere see what belongs to the pipeline.
    place = str(Path(config.pipeline.root).parent) if where.endpoint else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        with beam.Pipeline(argv=where.arguments) as pipeline:
            audit_images(
                pipeline, files, config.audit, folder,
                background=config.image.background, model=model, total=total,
            )  # fmt: skip
        return read_audit(folder)
