from .access import (
    file_sizes as file_sizes,
    is_remote as is_remote,
    list_names as list_names,
    open_file as open_file,
    path_exists as path_exists,
    read_bytes as read_bytes,
    walk_files as walk_files,
)
from .checksums import (
    CHECKSUMS_FILE as CHECKSUMS_FILE,
    checksums_text as checksums_text,
    compare_checksums as compare_checksums,
    find_damage as find_damage,
    sum_files as sum_files,
)
from .examples import (
    feature_types as feature_types,
    read_examples as read_examples,
    without_autotune as without_autotune,
)
from .files import read_file as read_file, write_file as write_file
from .seekable import SeekableFile as SeekableFile
from .text import read_text as read_text
