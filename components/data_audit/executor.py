"""The executor of DataAudit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.data_audit.artifact import AUDIT_KEY
from components.data_audit.files import split_files
from components.data_audit.transforms import audit_images
from modules.audit import AuditReport, read_audit
from modules.settings import AuditSettings, ImageTable, check_settings

EXAMPLES_KEY = standard_component_specs.EXAMPLES_KEY
MODEL_KEY = standard_component_specs.MODEL_KEY
EVALUATED_KEY = "evaluated"
SETTINGS_KEY = "settings"
BACKGROUND_KEY = "background"
_IMAGES = "images"  # custom property of what ExampleGen makes


class Executor(base_beam_executor.BaseBeamExecutor):
    """Looks at the images; see the component for what and why."""

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs one Beam pipeline over all splits, then judges what it found.

        Args:
            input_dict: `examples`, one artifact or more; `evaluated`, none or more; `model`, none
                or one.
            output_dict: `audit`.
            exec_properties: `settings`, the table `[audit]` as JSON; `background`.

        Raises:
            ValueError: A setting is not allowed, there is no image, or a share is above its
                threshold; the message names images and remedies.
        """
        audit = artifact_utils.get_single_instance(output_dict[AUDIT_KEY])
        settings = check_settings(
            AuditSettings, json.loads(exec_properties[SETTINGS_KEY]), "DataAudit"
        )
        examples, evaluated = input_dict[EXAMPLES_KEY], input_dict.get(EVALUATED_KEY) or []
        files = split_files(examples, evaluated)
        if not files:
            uris = ", ".join(one.uri for one in examples)
            raise ValueError(f"DataAudit: there are no examples in {uris}. Add images.")
        models = input_dict.get(MODEL_KEY) or []
        with self._make_beam_pipeline() as pipeline:
            audit_images(
                pipeline,
                files,
                settings,
                audit.uri,
                background=exec_properties.get(BACKGROUND_KEY) or ImageTable().background,
                model=path_utils.serving_model_path(models[0].uri) if models else None,
                total=_total([*examples, *evaluated]),
            )
        report = read_audit(audit.uri)
        _publish(audit, report)
        if report.failures:
            raise ValueError("\n".join(["The data are not fit to learn from:", *report.failures]))


def _total(examples: Sequence[types.Artifact]) -> int | None:
    """How many images there are at most; None if that is not known."""
    counts = [one.get_int_custom_property(_IMAGES) for one in examples]
    return sum(counts) if all(counts) else None


def _publish(audit: types.Artifact, report: AuditReport) -> None:
    """Notes on the artifact what a summary shows."""
    for name, number in report.counts.items():
        audit.set_int_custom_property(name, number)
    audit.set_int_custom_property("compared", report.compared)
    found = ", ".join(
        f"{name.replace('_', ' ')} {number:,}" for name, number in report.counts.items() if number
    )
    logging.info("DataAudit: of %s images: %s.", f"{sum(report.images.values()):,}", found)
