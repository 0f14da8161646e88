"""The operating point of a model: at which distance two images count as of one class.

`operating_point.json` lies beside the verdict of the Evaluator and, from there, in the version that
is served. Nothing here needs TensorFlow.
"""

from __future__ import annotations

OPERATING_POINT_FILE = "operating_point.json"


def operating_point_path(folder: str) -> str:
    """Where the operating point lies: of a blessing by its uri, or of a pushed version."""
    return f"{folder.rstrip('/')}/{OPERATING_POINT_FILE}"
