from .driver import SpanDriver as SpanDriver, SpanInputProcessor as SpanInputProcessor
from .listing import list_files as list_files
from .patterns import SpanPattern as SpanPattern, date_to_span as date_to_span
