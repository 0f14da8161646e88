"""The artifact that IndexGen makes."""

from __future__ import annotations

import json

from tfx.types.artifact import Artifact

from modules.settings import IndexSettings

INDEX_KEY = "index"
PREVIOUS_KEY = "previous_index"
# Custom properties. The others are what a summary shows; see `publishing.py`.
BUILT = "built"  # 0: the model is not blessed, and there are no files
SETTINGS = "settings"


class Index(Artifact):
    """The files of an index, as `modules.index.write_index` writes them."""

    TYPE_NAME = "Index"


def settings_text(settings: IndexSettings) -> str:
    """`[index]` as text: what was asked for, to tell one index from another of the same inputs.

    What is as by default is left out: set or not, it asks for the same. So is what is the Pusher's,
    and where a gallery of its own lies: its examples are an input.
    """
    asked = settings.model_dump(
        mode="json", exclude_defaults=True, exclude={"nearest_up_to", "path"}
    )
    return json.dumps(asked, sort_keys=True)
