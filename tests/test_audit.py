"""What `make audit` makes of the answers of `pip-audit`."""

from __future__ import annotations

import importlib.util
import re

import pytest

from pipeline.config import PROJECT

SPEC = importlib.util.spec_from_file_location("audit", PROJECT / ".ci" / "audit.py")
assert SPEC is not None
assert SPEC.loader is not None
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

GOOD = {"name": "a", "version": "1.0", "vulns": []}
BAD = {
    "name": "b",
    "version": "2.0",
    "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}],
}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found and could not be audited"}


@pytest.mark.parametrize(
    ("packages", "code", "says"),
    [
        ([GOOD], 0, "no known vulnerabilities in 1 packages"),
        ([GOOD, BAD], 1, "b 2.0: CVE-2026-1, mended in 2.1"),
        ([GOOD, UNKNOWN], 2, r"nothing is known of 1 of 2 packages \(c\)"),
        ([BAD, UNKNOWN], 1, "nothing is known of 1 of 2"),
        ([UNKNOWN] * 6, 2, r"6 of 6 packages \(c, c, c, c, c, …\)"),
        ([], 2, "nothing is known of 0 of 0"),
    ],
)
def test_what_nobody_knows_is_not_good(packages, code, says) -> None:
    found, lines = audit.verdict({"dependencies": packages})
    assert found == code
    assert any(line for line in lines if re.search(says, line))
