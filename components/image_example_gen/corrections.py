"""Corrections of the data: images to drop and labels to replace, by id, from a file.

A CSV file with the columns `id`, `action` and `value`: action `drop` leaves the image out,
`relabel` gives it the label in `value`. So the data themselves stay as they were delivered.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf

from modules.contract import ID, LABEL
from modules.runtime import shown
from modules.storage import read_file

DROP, RELABEL = "drop", "relabel"
COLUMNS = ("id", "action", "value")
_SHOWN = 10  # unknown ids in a message


class Correction(NamedTuple):
    """What to do with an image; `label`: None drops it."""

    label: bytes | None


def read_corrections(path: str) -> dict[bytes, Correction]:
    """Reads a file of corrections.

    Args:
        path: Local, or a URI that TensorFlow can read.

    Returns:
        By id.

    Raises:
        ValueError: It cannot be read, or a line is wrong; the message names the line.
    """
    try:
        text = read_file(path).decode("utf-8-sig")
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The corrections {path} cannot be read ({error}). Correct [data] corrections, or save "
            "the file as UTF-8."
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = reader.fieldnames or []
    if missing := [name for name in ("id", "action") if name not in names]:
        raise ValueError(
            f"{path}: there is no column {' and '.join(missing)}; expected the columns "
            f"{', '.join(COLUMNS)} in the first line, found {', '.join(names) or 'none'}."
        )
    found: dict[bytes, Correction] = {}
    for row in reader:
        place = f"{path}, line {reader.line_num}"
        example_id = (row["id"] or "").encode()
        if not example_id:
            raise ValueError(f"{place}: the id is empty. Name an image, or remove the line.")
        if example_id in found:
            raise ValueError(f"{place}: {row['id']!r} is corrected twice. Remove one of the lines.")
        found[example_id] = _correction(row, place)
    return found


def _correction(row: Mapping[str, str | None], place: str) -> Correction:
    action, value = row["action"] or "", row.get("value") or ""
    if action == DROP and not value:
        return Correction(None)
    if action == RELABEL and value:
        return Correction(value.encode())
    if action not in (DROP, RELABEL):
        raise ValueError(f"{place}: the action is {action!r}, expected 'drop' or 'relabel'.")
    wanted = "no value" if action == DROP else "the new label as value"
    raise ValueError(f"{place}: action {action!r} takes {wanted}, found {value!r}.")


class Correct(beam.PTransform):
    """PCollection[tf.train.Example], or a dict of those by split → the same, corrected.

    Args:
        corrections: By id.
        applied: Receives a PCollection of the ids that were found, when the transform is applied.
    """

    def __init__(
        self, corrections: Mapping[bytes, Correction], applied: list[beam.PCollection]
    ) -> None:
        super().__init__()
        self._corrections, self._applied = dict(corrections), applied

    def expand(
        self, examples: beam.PCollection | dict[str, beam.PCollection]
    ) -> beam.PCollection | dict[str, beam.PCollection]:
        """Corrects each example on its own."""
        if isinstance(examples, dict):
            return {name: self._correct(one, f"[{name}]") for name, one in examples.items()}
        return self._correct(examples, "")

    def _correct(self, examples: beam.PCollection, suffix: str) -> beam.PCollection:
        outputs = examples | f"Correct{suffix}" >> beam.ParDo(
            _CorrectExample(self._corrections)
        ).with_outputs("applied", main="examples")
        self._applied.append(outputs["applied"])
        return outputs["examples"]


@beam.typehints.with_output_types(tf.train.Example)
class _CorrectExample(beam.DoFn):
    def __init__(self, corrections: dict[bytes, Correction]) -> None:
        self._corrections = corrections

    def process(self, example: tf.train.Example) -> Iterator[object]:
        features = example.features.feature  # to ask for a name would make a feature of it
        ids = features[ID].bytes_list.value if ID in features else []
        correction = self._corrections.get(ids[0]) if len(ids) == 1 else None
        if correction is None:
            yield example
            return
        action = DROP if correction.label is None else RELABEL
        yield beam.pvalue.TaggedOutput("applied", (ids[0], action))
        if correction.label is not None:
            corrected = tf.train.Example()
            corrected.CopyFrom(example)  # Beam's elements are not to be changed
            corrected.features.feature[LABEL].bytes_list.value[:] = [correction.label]
            yield corrected


def count_corrections(
    applied: list[tuple[bytes, str]], corrections: Mapping[bytes, Correction]
) -> dict[str, object]:
    """Counts what was done, and names ids of the file that no image has."""
    known = {one for one, _ in applied}
    unknown = sorted(shown(one) for one in corrections.keys() - known)
    return {
        "dropped": sum(action == DROP for _, action in applied),
        "relabelled": sum(action == RELABEL for _, action in applied),
        "unknown": len(unknown),
        "first_unknown": unknown[:_SHOWN],
    }
