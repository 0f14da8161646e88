"""Classes that look the same to a person and are not."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import apache_beam as beam
import tensorflow as tf

from modules.contract import LABEL
from modules.runtime import shown


def comparable(name: str) -> str:
    """A name in the normal form NFC and without case: the same for what looks the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@beam.ptransform_fn
def find_similar(examples: beam.PCollection) -> beam.PCollection:
    """Finds classes whose names differ only by case or normal form.

    PCollection[tf.train.Example] -> PCollection[list[str]]: the names of each such group, escaped
    where a terminal or an editor shows no difference.
    """
    return (
        examples
        | "Labels" >> beam.FlatMap(_labels)
        | "Distinct" >> beam.Distinct()
        | "Key" >> beam.Map(lambda label: (comparable(label.decode(errors="replace")), label))
        | "Group" >> beam.GroupByKey()
        | "Names" >> beam.FlatMap(lambda group: _names(group[1]))
    )


def group_similar(labels: Iterable[bytes]) -> list[list[str]]:
    """The same of distinct labels that fit into memory, in order."""
    groups: dict[str, list[bytes]] = {}
    for label in labels:
        groups.setdefault(comparable(label.decode(errors="replace")), []).append(label)
    return sorted(names for group in groups.values() for names in _names(group))


def _labels(example: tf.train.Example) -> list[bytes]:
    features = example.features.feature  # to ask for a name would make a feature of it
    return list(features[LABEL].bytes_list.value) if LABEL in features else []


def _names(labels: Iterable[bytes]) -> list[list[str]]:
    names = sorted(label.decode(errors="replace") for label in labels)
    if len(names) < 2:
        return []
    texts = [shown(name) for name in names]
    if len({unicodedata.normalize("NFC", text) for text in texts}) < len(texts):
        texts = [ascii(name)[1:-1] for name in names]  # they differ by normal form: invisible
    return [texts]
