from .eval_config import METRIC_CLASS as METRIC_CLASS, make_eval_config as make_eval_config
from .result import (
    BASELINE as BASELINE,
    CANDIDATE as CANDIDATE,
    OVERALL as OVERALL,
    Failure as Failure,
    Metrics as Metrics,
    describe_failures as describe_failures,
    drop_undefined_failures as drop_undefined_failures,
    read_intervals as read_intervals,
    read_metrics as read_metrics,
)
