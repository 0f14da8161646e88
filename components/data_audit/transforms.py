"""The Beam part of DataAudit: each image is looked at once, and what is alike meets.

After the first step there are no images any more, but rows of some hundred bytes. Rows with the
same pixels meet in one part of the data by their hash; rows that share a word of a perceptual hash
meet by that word. A part is one element with arrays, not many small ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np

from components.data_audit.looking import FINDINGS, VECTORS, LookAtFile, Vectors
from components.image_example_gen import group_similar
from modules.audit import (
    AUDIT_FILE,
    LONG_WORDS,
    SHIFTED,
    Findings,
    LabelVerdict,
    Sightings,
    find_copies,
    find_near,
    find_shifted,
    join_sightings,
    judge_labels,
    long_words,
    make_report,
    merge_findings,
    suspect_ids,
    write_suspects,
)
from modules.models import SharedEmbedder
from modules.settings import AuditSettings, rgb
from modules.storage import write_file

_PARTS = 16  # of the data, by hash of the pixels
_PARTS_OF_WORD = 4  # by the value of a word
_DISTINCT = "distinct"


def audit_images(
    pipeline: beam.Pipeline,
    files: Sequence[tuple[str, str]],
    settings: AuditSettings,
    folder: str,
    *,
    background: str = "white",
    model: str | None = None,
    total: int | None = None,
) -> None:
    """Adds everything to a pipeline: looking, finding, writing the report.

    Args:
        pipeline: Pipeline to add to.
        files: (split, path) of gzipped TFRecord files of examples, at least one.
        settings: `[audit]`.
        folder: Where `audit.json` and `suspects.json` come to lie.
        background: The colour behind transparent images.
        model: Folder of a SavedModel; None for none.
        total: How many images there are, for the part that the model compares; None: it is not
            known, and the model compares all.
    """
    compared = 0.0 if model is None else min(1.0, settings.model_images / total) if total else 1.0
    looked = (
        pipeline
        | "Files" >> beam.Create(list(files), reshuffle=False)
        | "SpreadFiles" >> beam.Reshuffle()
        | "LookAtFile"
        >> beam.ParDo(
            LookAtFile(
                rgb(background), settings.listed, SharedEmbedder(model) if model else None, compared
            )
        ).with_outputs(FINDINGS, VECTORS, main="sightings")
    )
    copies = (
        looked["sightings"]
        | "ByPixels" >> beam.FlatMap(_by_pixels)
        | "GroupCopies" >> beam.GroupByKey()
        | "FindCopies"
        >> beam.ParDo(_FindCopies(settings.listed)).with_outputs(_DISTINCT, main=FINDINGS)
    )
    near = (
        copies[_DISTINCT]
        | "ByWord" >> beam.FlatMap(_by_word)
        | "GroupNear" >> beam.GroupByKey()
        | "FindNear"
        >> beam.MapTuple(
            lambda key, parts: find_near(
                join_sightings(parts), key // _PARTS_OF_WORD, settings.listed
            )
        )
    )
    shifted = (
        copies[_DISTINCT]
        | "ByShiftedWord" >> beam.FlatMap(_by_shifted_word)
        | "GroupShifted" >> beam.GroupByKey()
        | "FindShifted"
        >> beam.MapTuple(lambda key, parts: _find_shifted(key, parts, settings.listed))
    )
    verdict = (
        looked[VECTORS]
        | "GatherVectors" >> beam.combiners.ToList()
        | "JudgeLabels" >> (beam.Map(_judge, settings.listed))
    )
    _ = (
        (looked[FINDINGS], copies[FINDINGS], near, shifted)
        | "AllFindings" >> beam.Flatten()
        | "GatherFindings" >> beam.combiners.ToList()
        | "WriteReport" >> beam.Map(_write, beam.pvalue.AsSingleton(verdict), settings, folder)
    )


def _by_pixels(rows: Sightings) -> Iterator[tuple[int, Sightings]]:
    parts = (rows.pixels[:, 0] % np.uint64(_PARTS)).astype(np.int64)
    for part in np.unique(parts).tolist():
        yield part, rows.take(parts == part)


class _FindCopies(beam.DoFn):
    """(part, its rows) → Findings, and the rows in which to look for near-duplicates."""

    def __init__(self, listed: int) -> None:
        self._listed = listed

    def process(
        self, element: tuple[int, Iterable[Sightings]]
    ) -> Iterator[Findings | beam.pvalue.TaggedOutput]:
        rows = join_sightings(element[1])
        found, distinct = find_copies(rows, self._listed)
        yield found
        yield beam.pvalue.TaggedOutput(_DISTINCT, rows.take(distinct))


def _by_word(rows: Sightings) -> Iterator[tuple[int, Sightings]]:
    rows = rows.take(~rows.blank)
    rows = rows._replace(shifted=rows.shifted[:, :0])  # not needed there
    for word in range(rows.words.shape[1]):
        parts = rows.words[:, word] % _PARTS_OF_WORD
        for part in np.unique(parts).tolist():
            yield word * _PARTS_OF_WORD + part, rows.take(parts == part)


def _by_shifted_word(rows: Sightings) -> Iterator[tuple[int, tuple[Sightings, np.ndarray]]]:
    """Yields (word and part, (rows, which of their hashes))."""
    rows = rows.take(~rows.blank & rows.shifted.any(axis=(1, 2)))
    if not len(rows.ids):
        return
    words = long_words(rows.shifted.reshape(-1, rows.shifted.shape[2]))
    row, way = np.divmod(np.arange(len(words)), SHIFTED)
    for word in range(LONG_WORDS):
        parts = words[:, word] % np.uint64(_PARTS_OF_WORD)
        for part in np.unique(parts).tolist():
            chosen = parts == part
            yield word * _PARTS_OF_WORD + int(part), (rows.take(row[chosen]), way[chosen])


def _find_shifted(key: int, parts: Iterable[tuple[Sightings, np.ndarray]], listed: int) -> Findings:
    of_parts, ways = zip(*parts, strict=True)
    rows, way = Sightings(*map(np.concatenate, zip(*of_parts, strict=True))), np.concatenate(ways)
    order = np.lexsort((way, rows.splits.astype(str), rows.ids))
    return find_shifted(rows.take(order), way[order], key // _PARTS_OF_WORD, listed)


def _judge(parts: list[Vectors], listed: int) -> LabelVerdict | None:
    """None without a model."""
    if not parts:
        return None
    ids, labels, embeddings = (np.concatenate(column) for column in zip(*parts, strict=True))
    # That ids are unique is for TripletGen to say.
    _, rows = np.unique(ids, return_index=True)
    return judge_labels(ids[rows].tolist(), labels[rows].tolist(), embeddings[rows], listed)


def _write(
    parts: list[Findings], verdict: LabelVerdict | None, settings: AuditSettings, folder: str
) -> None:
    found = merge_findings(parts, settings.listed)
    similar = group_similar(sorted({label for _, label in found.classes}))
    report = make_report(found, verdict, similar, settings)
    write_suspects(folder, suspect_ids(found, verdict))
    write_file(f"{folder}/{AUDIT_FILE}", report.model_dump_json(indent=1).encode())
