from .examples import (
    feature_types as feature_types,
    read_examples as read_examples,
    without_autotune as without_autotune,
)
from .files import read_file as read_file, write_file as write_file
from .text import read_text as read_text
