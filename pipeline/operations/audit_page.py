"""An audit as one page that shows the images and writes a file of corrections."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modules.audit import AuditReport, Group
from modules.contract import ID, IMAGE
from pipeline.operations.audit_table import COUNTED, alike_classes

_FILES = Path(__file__).resolve().parent / "audit_files"
_MOST = 50  # findings of a kind
_MEMBERS = 6  # of a group
_READ = 256


def write_audit_page(
    path: Path,
    report: AuditReport,
    files: Iterable[tuple[str, str]],
    *,
    background: str = "white",
    corrections: str | None = None,
) -> None:
    """Writes the page; it needs no network and no server.

    Args:
        path: Of the file.
        report: Of the audit.
        files: (split, path) of the examples, in which the images are looked up.
        background: The colour behind transparent images.
        corrections: The file of corrections that there is: what is downloaded begins with it.
    """
    sections = list(_sections(report))
    wanted = {one["id"] for section in sections for row in section["rows"] for one in row["images"]}
    content = {
        "images": report.images,
        "found": _found(report),
        "classes": [[", ".join(names), why] for names, why in alike_classes(report, _MOST)],
        "failures": report.failures,
        "compared": report.compared,
        "sections": sections,
        "pictures": _pictures(wanted, files, background),
        "corrections": _given(corrections) if corrections else [],
    }
    page = (_FILES / "page.html").read_text(encoding="utf-8")
    for name in ("style.css", "page.js"):
        page = page.replace(f"/* {name} */", (_FILES / name).read_text(encoding="utf-8"))
    # Nothing of the data may end the element that holds them.
    data = json.dumps(content).replace("<", "\\u003c")
    path.write_text(page.replace("{}", data, 1), encoding="utf-8")


def _given(path: str) -> list[tuple[str, str, str]]:
    """The corrections that there are: id, action, value."""
    from components.image_example_gen import read_corrections
    from pipeline.runtime import ConfigError

    try:
        found = read_corrections(path)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return [
        (one.decode(), "drop" if to.label is None else "relabel", (to.label or b"").decode())
        for one, to in found.items()
    ]


def _found(report: AuditReport) -> list[tuple[str, str, str]]:
    """What was found, how many, and the share, without what was not."""
    return [
        (text, f"{number:,}", f"{report.shares[name]:.2%}" if name in report.shares else "")
        for name, text in COUNTED.items()
        if (number := report.counts.get(name, 0))
    ]


def _sections(report: AuditReport) -> Iterable[dict[str, Any]]:
    suspects = [
        {
            "images": [
                {"id": one.id, "label": one.label, "suggested": [one.neighbours]},
                *({"id": near, "neighbour": True} for near in one.nearest),
            ],
            "note": f"{one.doubt:.1f} times nearer to {one.neighbours!r} than to {one.label!r}",
        }
        for one in report.suspects[:_MOST]
    ]
    near = [
        {
            "images": [
                {"id": one, "label": label, "suggested": _others(pair.labels, label)}
                for one, label in zip(pair.ids, pair.labels, strict=True)
            ],
            "note": f"distance {pair.distance:.4f}",
        }
        for pair in report.near_by_model[:_MOST]
    ]
    alone = [
        {"images": [{**one.model_dump(), "suggested": []}], "note": ""}
        for one in (*report.blank[:_MOST], *report.alone[:_MOST])
    ]
    for title, rows in (
        ("Likely wrong labels, each with its nearest images", suspects),
        ("Copies: the same pixels", [_group(one) for one in report.copies[:_MOST]]),
        ("Near-duplicates", [_group(one) for one in report.near_duplicates[:_MOST]]),
        ("The same to the model", near),
        ("Blank, or alone in their class", alone),
    ):
        if rows:
            yield {"title": title, "rows": rows}


def _group(group: Group) -> dict[str, Any]:
    labels = [one.label for one in group.members]
    kinds = [
        text
        for text, is_so in (("two labels", group.conflicting), ("in train and eval", group.leaked))
        if is_so
    ]
    if group.shifted:
        kinds.append("one is the other shifted by a pixel")
    elif group.bits:
        kinds.append(f"{group.bits} of 143 bits differ")
    return {
        "images": [
            {**one.model_dump(), "suggested": _others(labels, one.label)}
            for one in group.members[:_MEMBERS]
        ],
        "note": ", ".join([f"{group.images:,} images", *kinds]),
    }


def _others(labels: list[str], own: str) -> list[str]:
    return sorted(set(labels) - {own})


def _pictures(
    wanted: set[str], files: Iterable[tuple[str, str]], background: str
) -> dict[str, str]:
    """Small JPEGs as data URIs, by id."""
    from modules.images import small_jpeg
    from modules.storage import read_examples

    keys = {one.encode(): one for one in wanted}
    found: dict[str, str] = {}
    for _, path in files:
        for batch in read_examples(path, (ID, IMAGE), batch_size=_READ, absent=b""):
            ids, images = batch[ID].numpy().tolist(), batch[IMAGE].numpy().tolist()
            for example_id, image in zip(ids, images, strict=True):
                if example_id in keys and keys[example_id] not in found:
                    small = base64.b64encode(small_jpeg(image, background)).decode()
                    found[keys[example_id]] = f"data:image/jpeg;base64,{small}"
    return found
