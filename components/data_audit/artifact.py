"""The artifact that DataAudit makes."""

from __future__ import annotations

from tfx.types.artifact import Artifact

AUDIT_KEY = "audit"


class Audit(Artifact):
    """`audit.json` and `suspects.json`, see `modules.audit.report`."""

    TYPE_NAME = "DataAudit"
