"""The first node, which reads the data that `[data]` describes."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent

from components.image_example_gen import ImageExampleGen, given_splits, hash_split
from components.record_example_gen import RecordExampleGen
from components.sheet_example_gen import SheetExampleGen
from pipeline.config import DataSettings


def make_example_gen(data: DataSettings) -> BaseComponent:
    """Images in class folders, sheets of images, or records of the contract."""
    output = None
    if data.split != "given":
        output = hash_split(
            data.eval_fraction, by="label" if data.split == "class_disjoint" else "id"
        )
    if data.format == "tfrecord":
        return RecordExampleGen(
            input_base=data.path,
            input_config=given_splits(data.patterns),
            output_config=output,
            max_undecodable_fraction=data.max_undecodable_fraction,
            max_pixels=data.max_pixels,
            distractors=data.distractors,
            corrections=data.corrections,
            late_spans=data.late_spans,
        ).with_id("ImportExampleGen")
    if data.format != "images":
        return SheetExampleGen(
            input_base=data.path,
            format=data.format,
            input_config=given_splits(data.patterns),
            output_config=output,
            max_undecodable_fraction=data.max_undecodable_fraction,
            max_pixels=data.max_pixels,
            distractors=data.distractors,
            corrections=data.corrections,
            late_spans=data.late_spans,
        )
    return ImageExampleGen(
        input_base=data.path,
        input_config=given_splits(data.patterns),
        output_config=output,
        max_undecodable_fraction=data.max_undecodable_fraction,
        max_pixels=data.max_pixels,
        distractors=data.distractors,
        corrections=data.corrections,
        late_spans=data.late_spans,
    )
