"""One report for all tests of a process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.data_audit import Audit
from tests.components.report_gen.report_node import Reported


@pytest.fixture(scope="session")
def reported(tmp_path_factory) -> Reported:
    found = Reported(tmp_path_factory.mktemp("reported"))
    churn = {"images whose nearest neighbour changed": 7, "examples": [{"id": "<i>"}]}
    Path(found.inputs["blessing"][0].uri, "churn.json").write_text(json.dumps(churn))
    audit = Audit()
    audit.uri = str(found.root / "audit")
    Path(audit.uri).mkdir()
    copies = [{"conflicting": True, "members": [{"id": "twin <u>"}]}]
    Path(audit.uri, "audit.json").write_text(json.dumps({"copies": copies, "blank": []}))
    found.inputs["audit"] = [audit]
    found.made = found.report("report")
    return found


@pytest.fixture(scope="session")
def page(reported) -> Path:
    return Path(reported.made.uri, "report.html")
