from .driver import (
    CORRECTIONS as CORRECTIONS,
    SpanDriver as SpanDriver,
    SpanInputProcessor as SpanInputProcessor,
    corrections_path as corrections_path,
)
from .listing import list_files as list_files
from .patterns import SpanPattern as SpanPattern, date_to_span as date_to_span
