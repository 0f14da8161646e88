"""Names of the files of a report."""

from __future__ import annotations

REPORT_FILE, CARD_FILE = "report.html", "model_card.md"


def report_page(folder: str) -> str:
    """Where the page lies, by the uri of ReportGen's `report`."""
    return f"{folder.rstrip('/')}/{REPORT_FILE}"
