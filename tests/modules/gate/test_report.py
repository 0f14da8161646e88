"""The report of an evaluation: the same figures come back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from modules.gate import EvaluationReport, Failure, read_report, report_path

METRICS = {
    "candidate": {
        "overall": {"map@r": 0.1 + 0.2, "queries": 1000.0, "spread": 5e-324},
        "label=9": {"map@r": math.nan, "queries": 1.0},
    }
}


def test_the_same_to_the_last_digit(tmp_path: Path) -> None:
    failures = [Failure("map@r", "label=9", math.nan, "it is undefined"),
                Failure("thresholds", "label=ü", None, "no evaluated example")]  # fmt: skip
    intervals = {"candidate": {"overall": {"map@r": (1 / 3, 2 / 3)}}}
    report = EvaluationReport(metrics=METRICS, intervals=intervals, failures=failures)
    path = Path(report_path(f"{tmp_path}/"))
    path.write_text(report.model_dump_json())
    written = json.loads(path.read_text(), parse_constant=pytest.fail)  # no NaN
    assert written["metrics"]["candidate"]["label=9"]["map@r"] is None
    found = read_report(str(tmp_path))
    assert found.metrics["candidate"]["overall"] == METRICS["candidate"]["overall"]
    assert math.isnan(found.metrics["candidate"]["label=9"]["map@r"])
    assert found.intervals == intervals
    assert [str(one) for one in found.failures] == [str(one) for one in failures]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_report(str(tmp_path))
    Path(report_path(str(tmp_path))).write_text('{"metrics": {}, "verdict": 1}')
    with pytest.raises(ValidationError, match="verdict"):
        read_report(str(tmp_path))
