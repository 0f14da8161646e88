"""What blame says of the audit of the run: of the images of the spans, and of no others."""

from __future__ import annotations

from pathlib import Path

from modules.audit import AUDIT_FILE, AuditReport, Group, write_suspects
from pipeline.operations.blame_audit import audit_sentences

IDS = [b"3/a", b"3/b", b"3/c\x1b", b"3/d", b"3/e"]


def group(*names: str, conflicting: bool = False, leaked: bool = False) -> Group:
    members = [{"id": one, "label": "cat", "split": "train"} for one in names]
    return Group.model_validate(
        {"conflicting": conflicting, "leaked": leaked, "members": members, "images": len(names)}
    )


def written(folder: Path, suspects: list[str], **found) -> str:
    report = AuditReport(images={"train": 9}, counts={}, shares={}, failures=[], **found)
    (folder / AUDIT_FILE).write_text(report.model_dump_json())
    write_suspects(str(folder), suspects)
    return str(folder)


def test_suspects_and_copies_of_the_spans_are_named(tmp_path: Path) -> None:
    uri = written(
        tmp_path,
        ["2/x", "3/a", "3/b", "3/c\x1b", "3/d"],
        copies=[
            group("2/x", "3/a", conflicting=True),
            group("1/y", "2/x", conflicting=True),
            group("3/b", "3/e", leaked=True),
        ],
        near_duplicates=[group("3/d", "2/x", conflicting=True), group("3/d", "3/e")],
        compared=9,
    )
    assert audit_sentences(uri, IDS) == [
        "The audit of the run doubts the labels of 4 of the 5 images to train on: "
        "3/a, 3/b, 3/c\\x1b and 1 more.",
        "It found copies with two labels among them: 2/x (cat), 3/a (cat).",
        "It found copies in train and eval among them: 3/b (cat), 3/e (cat).",
        "It found near-duplicates with two labels among them: 3/d (cat), 2/x (cat).",
    ]


def test_where_it_doubts_nothing_it_says_whether_it_had_a_model(tmp_path: Path) -> None:
    nothing = "The audit of the run doubts none of the labels"
    assert audit_sentences(written(tmp_path, ["2/x"], compared=9), IDS) == [f"{nothing}."]
    assert audit_sentences(written(tmp_path, []), IDS) == [
        f"{nothing}; it had no model to judge labels with."
    ]
    assert audit_sentences(str(tmp_path / "gone"), IDS) == []
