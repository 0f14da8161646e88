from .class_disjoint import split_by_class as split_by_class
from .idx import IdxError as IdxError, read_split as read_split
from .labelled_images import (
    EncodedImage as EncodedImage,
    LabelledImages as LabelledImages,
    encode_png as encode_png,
)
from .sources import SOURCES as SOURCES, load_dataset as load_dataset
from .writing import (
    SplitSummary as SplitSummary,
    check_output as check_output,
    write_dataset as write_dataset,
)
