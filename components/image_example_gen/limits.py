"""The options of the check, on their way from the node to its executor."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import struct_pb2
from tfx.proto import example_gen_pb2

from components.spans import CORRECTIONS, LATE_SPANS, LateSpans

# Keys of the options in the execution property `custom_config`.
MAX_UNDECODABLE = "max_undecodable_fraction"
MAX_PIXELS = "max_pixels"
DISTRACTOR_LABELS = "distractors"  # absent without any


def check_limits(
    max_undecodable_fraction: float,
    max_pixels: int,
    distractors: Sequence[str] = (),
    corrections: str | None = None,
    late_spans: LateSpans = "warn",
    **further: str | bool,
) -> example_gen_pb2.CustomConfig:
    """Checks the limits and packs all options.

    Args:
        max_undecodable_fraction: See `ImageExampleGen`.
        max_pixels: Likewise.
        distractors: Likewise.
        corrections: Likewise.
        late_spans: Likewise.
        further: Options of another ExampleGen.

    Raises:
        ValueError: One is out of range.
    """
    if not 0 <= max_undecodable_fraction <= 1:
        raise ValueError(
            f"max_undecodable_fraction is {max_undecodable_fraction}, expected 0 to 1."
        )
    if max_pixels < 1:
        raise ValueError(f"max_pixels is {max_pixels}, expected at least 1.")
    options = struct_pb2.Struct()
    options.update({MAX_UNDECODABLE: max_undecodable_fraction, MAX_PIXELS: max_pixels, **further})
    if distractors:
        options.update({DISTRACTOR_LABELS: sorted(distractors)})
    if corrections:
        options.update({CORRECTIONS: corrections})
    if late_spans != "warn":
        options.update({LATE_SPANS: late_spans})
    custom_config = example_gen_pb2.CustomConfig()
    custom_config.custom_config.Pack(options)
    return custom_config
