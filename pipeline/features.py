"""Whether the data has the features that the evaluation reads, looked up before the first node."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

from components.spans import SpanPattern, list_files
from pipeline.config import Config
from pipeline.runtime import ConfigError

_RECORDS = 1000  # of a file, that may lack a feature: it is optional in a tf.Example


def check_features(config: Config) -> None:
    """Looks for the features of `slice_by` and `exclude_same` in what would be evaluated.

    They are the columns of a sheet, or the features of the first records. Of spans the latest one
    is looked at. Object stores, and files that cannot be read, are left to the nodes, which say
    what is wrong with them.

    Raises:
        ConfigError: A feature is in none of the sheets, or in none of the first records.
    """
    wanted = config.evaluation.features
    if not wanted or "://" in config.data.path:
        return
    judged = {"all", "eval", config.evaluation.gallery_split}
    files = [
        file
        for name, pattern in config.data.patterns.items()
        if name in judged
        for file in _files(config.data.path, SpanPattern.parse(pattern))
        if not os.path.basename(file).startswith(".")  # noqa: PTH119 — any bytes
    ]
    try:
        found = _columns(files, config) if config.data.is_sheet else _of_records(files[:1])
    except Exception:  # the node that reads them tells it in its words
        return
    if files and (missing := sorted(wanted - found)):
        what = "columns" if config.data.is_sheet else f"features of its first {_RECORDS:,} records"
        raise ConfigError(
            f"evaluation.slice_by and exclude_same have {', '.join(missing)}, but {files[0]} has "
            f"only the {what} {', '.join(sorted(found))}. Correct the name, or remove it."
        )


def _files(root: str, pattern: SpanPattern) -> list[str]:
    if not pattern.has_spans:
        return list_files(root, pattern.pattern)
    base = os.path.join(root, "")  # noqa: PTH118 — any bytes
    spans = [
        (span[0], span[1] or 0, path)
        for path in list_files(root, pattern.folders)
        if (span := pattern.find(path.removeprefix(base)))
    ]
    for *_, path in sorted(spans, reverse=True):
        if found := list_files(path, pattern.below) if pattern.below else [path]:
            return found
    return []


def _columns(files: Iterable[str], config: Config) -> set[str]:
    from components.sheet_example_gen import Format, feature_names

    kind: Format = "csv" if config.data.format == "csv" else "parquet"
    return set[str]().union(*(feature_names(file, kind) for file in files))


def _of_records(files: Iterable[str]) -> set[str]:
    import tensorflow as tf

    from components.record_example_gen import read_records

    return {
        name
        for file in files
        for record in itertools.islice(read_records(file), _RECORDS)
        for name in tf.train.Example.FromString(record).features.feature
    }
