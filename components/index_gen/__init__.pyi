from .artifact import (
    BUILT as BUILT,
    INDEX_KEY as INDEX_KEY,
    PREVIOUS_KEY as PREVIOUS_KEY,
    SETTINGS as SETTINGS,
    Index as Index,
    settings_text as settings_text,
)
from .component import IndexGen as IndexGen
