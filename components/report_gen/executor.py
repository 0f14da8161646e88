"""The executor of ReportGen."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import apache_beam as beam
import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.report_gen.artifact import FAULT, PAGE_BYTES, PICTURES, REPORT_KEY
from components.report_gen.gathering import gather
from components.report_gen.pictures import Images, WriteImages, read_images
from modules.contract import DISTRACTORS
from modules.report import (
    CARD_FILE,
    MOST_PICTURES,
    choose,
    failure_page,
    render_report,
    report_page,
    write_card,
)
from modules.retrieval import KeptQueries
from modules.settings import ImageTable, ReportSettings, check_settings
from modules.storage import write_file

EXAMPLES_KEY, EVALUATION_KEY, BLESSING_KEY = "examples", "evaluation", "blessing"
MODEL_KEY, MODEL_RUN_KEY, BASELINE_KEY = "model", "model_run", "baseline_model"
TRIPLETS_KEY = "triplets"
SETTINGS_KEY, TABLES_KEY, PIPELINE_KEY = "settings", "tables", "pipeline_name"
PAGE_KEY = "page_fingerprint"

_IMAGES_FILE = ".images.parquet"  # while the page is written
_EVALUATED = "eval"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes the page and the card; see the component for what is in them."""

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the report. What goes wrong is a warning, and a small page says it.

        Args:
            input_dict: `examples`, one artifact or more; `evaluation`; `blessing`; `model`; and if
                there are any `model_run`, `baseline_model`, `triplets`, `audit`.
            output_dict: `report`.
            exec_properties: `settings`, the table `[report]` as JSON; `tables`, others by name, as
                JSON; `pipeline_name`.
        """
        report = artifact_utils.get_single_instance(output_dict[REPORT_KEY])
        try:
            self._write(report, input_dict, exec_properties)
        except Exception as error:  # a report ends no run, whatever it is
            reason = f"{type(error).__name__}: {error}"
            logging.warning("ReportGen: the report could not be written: %s", reason)
            report.set_string_custom_property(FAULT, reason[:1000])
            with contextlib.suppress(Exception):
                page = failure_page(str(exec_properties.get(PIPELINE_KEY)), reason)
                write_file(report_page(report.uri), page.encode())

    def _write(
        self,
        report: types.Artifact,
        input_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        settings = check_settings(
            ReportSettings, json.loads(exec_properties[SETTINGS_KEY]), "ReportGen"
        )
        tables = json.loads(exec_properties[TABLES_KEY])
        facts = gather(input_dict, exec_properties[PIPELINE_KEY], tables, settings)
        images = Images({}, {})
        if facts.queries is not None:
            background = tables.get("image", {}).get("background") or ImageTable().background
            files = _files(input_dict[EXAMPLES_KEY], facts.thresholds.gallery_split)
            path = f"{report.uri}/{_IMAGES_FILE}"
            images = self._read_images(facts.queries, settings, files, path, background)
        facts = facts.with_images(images.labels, images.pictures)
        page = render_report(facts).encode()
        write_file(report_page(report.uri), page)
        write_file(f"{report.uri}/{CARD_FILE}", write_card(facts).encode())
        report.set_int_custom_property(PAGE_BYTES, len(page))
        report.set_int_custom_property(PICTURES, len(images.pictures))
        logging.info("ReportGen: %s, %s bytes.", report_page(report.uri), f"{len(page):,}")

    def _read_images(
        self,
        queries: KeptQueries,
        settings: ReportSettings,
        files: list[str],
        path: str,
        background: str,
    ) -> Images:
        pictured = set(choose(queries, settings.map_images).ids[:MOST_PICTURES])
        # The classes that nearest neighbours have are counted, pictured or not.
        named = {one for one in queries.neighbours[:, 0] if one is not None} | set(queries.ids)
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Files" >> beam.Create(files)
                | "Images" >> WriteImages(path, named, pictured, background)
            )
        found = read_images(path)
        tf.io.gfile.remove(path)
        return found


def _files(examples: list[types.Artifact], gallery_split: str | None) -> list[str]:
    """The files that queries and gallery came from."""
    wanted = {_EVALUATED, DISTRACTORS, *([gallery_split] if gallery_split else [])}
    return sorted(
        path
        for one in examples
        for split in artifact_utils.decode_split_names(one.split_names)
        if split in wanted
        for path in tf.io.gfile.glob(f"{artifact_utils.get_split_uri([one], split)}/*")
    )
