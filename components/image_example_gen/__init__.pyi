from .class_names import group_similar as group_similar
from .component import ImageExampleGen as ImageExampleGen
from .corrections import read_corrections as read_corrections
from .driver import Driver as Driver
from .executor import Executor as Executor, read_options as read_options
from .faults import (
    Checked as Checked,
    check_image as check_image,
    header_fault as header_fault,
    turns_late as turns_late,
)
from .files import (
    SUFFIXES as SUFFIXES,
    FileFaultError as FileFaultError,
    check_regular as check_regular,
)
from .limits import (
    MAX_PIXELS as MAX_PIXELS,
    MAX_UNDECODABLE as MAX_UNDECODABLE,
    check_limits as check_limits,
)
from .reading import (
    CONVERTED as CONVERTED,
    IGNORED as IGNORED,
    UNDECODABLE as UNDECODABLE,
    ReadImages as ReadImages,
)
from .splits import given_splits as given_splits, hash_split as hash_split
