"""Checks whole sheets before any image is read, so that all faults are told at once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from components.sheet_example_gen.rows import Rows
from components.sheet_example_gen.tables import Format, SheetError, open_table

_SHOWN = 10  # faults in a message


def check_sheets(
    sheets: Sequence[str],
    kind: Format,
    root: str,
    splits: Sequence[str],
    *,
    labelled: bool = True,
) -> Counter[str | None]:
    """Reads all sheets to the end.

    Memory holds 8 bytes per row, for the ids.

    Args:
        sheets: Their paths; ids must differ over all of them.
        kind: Of the files.
        root: Folder that ids are relative to.
        splits: What the column `split` may say; empty: the column is not read.
        labelled: Whether each row must have a label.

    Returns:
        How many rows name each split.

    Raises:
        SheetError: Something is wrong; the message names every fault, or the first of many.
    """
    faults: list[str] = []
    total = 0
    counts: Counter[str | None] = Counter()
    hashes: list[np.ndarray] = []
    for sheet in sheets:
        of_sheet = []
        for row in Rows(open_table(sheet, kind), root, splits, labelled=labelled):
            if isinstance(row, str):
                total += 1
                faults += [row] if len(faults) < _SHOWN else []
                continue
            counts[row.split] += 1
            of_sheet.append(_hash(row.id))
        hashes.append(np.array(of_sheet, np.uint64))
    if faults:
        more = f"\n  and {total - len(faults)} more" if total > len(faults) else ""
        raise SheetError("\n  ".join(["The sheets cannot be used:", *faults]) + more)
    if sheets:
        _reject_repeated(sheets, kind, root, np.concatenate(hashes))
    if empty := [name for name in splits if not counts[name]]:
        raise SheetError(
            f"No row of {', '.join(sheets)} is of the split {empty[0]!r}, by the column split: "
            f"{dict(counts)}. Name it in some rows, or let the split be made by hash: [data] split "
            "= 'hash' or 'class_disjoint'."
        )
    return counts


def _hash(example_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(example_id.encode(), digest_size=8).digest(), "big")


def _reject_repeated(sheets: Sequence[str], kind: Format, root: str, hashes: np.ndarray) -> None:
    """Finds ids that occur twice: by their hashes first, then in a second pass by themselves."""
    hashes.sort()
    suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not suspects:
        return
    first: dict[str, str] = {}
    for sheet in sheets:
        for row in Rows(open_table(sheet, kind), root, (), labelled=False):
            if isinstance(row, str) or _hash(row.id) not in suspects:
                continue
            if row.id in first:
                raise SheetError(
                    f"{row.place}, column id: {row.id!r} is the id of {first[row.id]} too. Ids "
                    "must differ; without the column they are made of path and box, so remove the "
                    "row, or give the sheet ids of its own."
                )
            first[row.id] = row.place
