from .corrections import CORRECTIONS as CORRECTIONS, corrections_path as corrections_path
from .driver import SpanDriver as SpanDriver, SpanInputProcessor as SpanInputProcessor
from .late import LATE_SPANS as LATE_SPANS, LateSpans as LateSpans, late_spans as late_spans
from .listing import ANY_DEPTH as ANY_DEPTH, list_files as list_files
from .patterns import SpanPattern as SpanPattern, date_to_span as date_to_span
