"""The artifact that ReportGen makes."""

from __future__ import annotations

from tfx.types.artifact import Artifact

REPORT_KEY = "report"
# Custom properties.
PAGE_BYTES = "page_bytes"
PICTURES = "pictures"
FAULT = "fault"  # why there is a small page in place of the report


class EvaluationReport(Artifact):
    """`report.html` and, unless that failed, `model_card.md`."""

    TYPE_NAME = "EvaluationReport"
