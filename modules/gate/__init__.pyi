from .change_tests import describe_undecided as describe_undecided
from .eval_config import METRIC_CLASS as METRIC_CLASS, make_eval_config as make_eval_config
from .gallery_bounds import describe_meaningless as describe_meaningless
from .operating_gate import (
    describe_few_errors as describe_few_errors,
    describe_threshold as describe_threshold,
    find_operating_point as find_operating_point,
    find_shift as find_shift,
)
from .operating_point import (
    OPERATING_POINT_FILE as OPERATING_POINT_FILE,
    OperatingPoint as OperatingPoint,
    ThresholdShift as ThresholdShift,
    operating_point_path as operating_point_path,
    read_operating_point as read_operating_point,
)
from .report import (
    BASELINE as BASELINE,
    CANDIDATE as CANDIDATE,
    CHANGE as CHANGE,
    OVERALL as OVERALL,
    EvaluationReport as EvaluationReport,
    Failure as Failure,
    Intervals as Intervals,
    Metrics as Metrics,
    read_report as read_report,
    report_path as report_path,
)
from .result import (
    describe_failures as describe_failures,
    drop_undefined_failures as drop_undefined_failures,
    read_intervals as read_intervals,
    read_metrics as read_metrics,
    write_report as write_report,
)
