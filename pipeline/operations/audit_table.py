"""An audit as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from modules.audit import AuditReport, Group
from modules.runtime import shown

# Count, what it is, and the share that goes with it.
COUNTED = {
    "leaked": "eval images with a copy in train",
    "conflicting": "images with a copy of another label",
    "copies": "images that repeat one of their split",
    "near_leaked": "eval images with a near-duplicate in train",
    "near_duplicates": "pairs of near-duplicates",
    "near_duplicates_conflicting": "pairs of near-duplicates with two labels",
    "near_by_model": "pairs that the model sees as the same",
    "suspects": "labels that the nearest images do not have",
    "blank": "blank images",
    "alone": "images alone in their class",
    "undecodable": "images that cannot be decoded",
}


def audit_tables(report: AuditReport, rows: int) -> Iterator[Table]:
    """Yields the counts, then what was found of each kind.

    Args:
        report: Of the audit.
        rows: The most findings to show of a kind.
    """
    images = ", ".join(f"{number:,} {split}" for split, number in report.images.items())
    table = Table(title=f"Audit of {images} images", title_justify="left")
    for name, justify in (("found", "left"), ("number", "right"), ("share", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, text in COUNTED.items():
        share = f"{report.shares[name]:.2%}" if name in report.shares else ""
        table.add_row(text, f"{report.counts[name]:,}", share)
    yield table
    if report.suspects:
        yield _suspects(report, rows)
    for title, groups in (("Copies", report.copies), ("Near-duplicates", report.near_duplicates)):
        if groups:
            yield _groups(title, groups, rows)
    if report.similar_names or report.alike:
        yield _classes(report, rows)


def _suspects(report: AuditReport, rows: int) -> Table:
    table = Table(title=_title("Likely wrong labels", len(report.suspects), rows))
    table.title_justify = "left"
    for name in ("id", "label", "label of its neighbours"):
        table.add_column(name)
    table.add_column("times nearer", justify="right")
    for one in report.suspects[:rows]:
        names = (escape(shown(text)) for text in (one.id, one.label, one.neighbours))
        table.add_row(*names, f"{one.doubt:.1f}")
    return table


def _groups(title: str, groups: list[Group], rows: int) -> Table:
    table = Table(title=_title(title, len(groups), rows), title_justify="left")
    table.add_column("images", justify="right")
    table.add_column("")
    table.add_column("such as", overflow="fold")
    for group in groups[:rows]:
        kinds = [n for n, is_so in (("labels", group.conflicting), ("leak", group.leaked)) if is_so]
        members = ", ".join(f"{one.id} ({one.split}, {one.label})" for one in group.members[:3])
        table.add_row(f"{group.images:,}", ", ".join(kinds), escape(shown(members, 300)))
    return table


def _classes(report: AuditReport, rows: int) -> Table:
    table = Table(title="Classes that look the same", title_justify="left")
    table.add_column("classes")
    table.add_column("why")
    for names, why in alike_classes(report, rows):
        table.add_row(escape(", ".join(map(shown, names))), why)
    return table


def alike_classes(report: AuditReport, rows: int) -> Iterator[tuple[list[str], str]]:
    """Yields classes that look the same, and why, at most so many of each kind."""
    for names in report.similar_names[:rows]:
        yield names, "names differ by case or normal form"
    for one in report.alike[:rows]:
        yield one.classes, f"{one.share:.0%} of the images of each look like the other"


def _title(what: str, number: int, rows: int) -> str:
    return f"{what}, {number - rows:,} more with --rows" if number > rows else what
