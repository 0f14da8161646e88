from .gc import (
    Plan as Plan,
    carry_out as carry_out,
    collect as collect,
    make_plan as make_plan,
    show_plan as show_plan,
)
from .history import show_history as show_history
from .rollback import Rollback as Rollback, roll_back as roll_back
from .sentences import (
    describe_rejections as describe_rejections,
    describe_run as describe_run,
    format_spans as format_spans,
)
from .summary import SLICES as SLICES, show as show, show_latest as show_latest
