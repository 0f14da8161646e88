"""What TensorFlow says of an error, in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def explain(error: tf.errors.OpError) -> str:
    """What went wrong, without the Python frames before and the graph names around it."""
    text = error.message.split("\n\n")[-1]
    text = text.split("<stack traces unavailable>\n")[-1]
    text = re.sub(r"\{\{.*?\}\}|\s*\[(\[|Op:).*", "", text, flags=re.DOTALL).strip()
    # tf.data puts the names of its stages before the message of the function it maps.
    return re.sub(r"^Error in user-defined function .*? iterator: [\w:]+: ", "", text)[:200]
