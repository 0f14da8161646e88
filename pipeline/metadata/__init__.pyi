from .connection import (
    PASSWORD as PASSWORD,
    USERNAME as USERNAME,
    connect_store as connect_store,
    connection_config as connection_config,
    find_execution as find_execution,
    mark_failed as mark_failed,
)
from .models import Models as Models, open_store as open_store
from .rejections import (
    Rejections as Rejections,
    data_rejections as data_rejections,
    model_rejections as model_rejections,
)
from .run_summary import (
    BASELINE as BASELINE,
    CANDIDATE as CANDIDATE,
    EXAMPLE_GENS as EXAMPLE_GENS,
    RunSummary as RunSummary,
    read_runs as read_runs,
)
from .runs import (
    Evaluation as Evaluation,
    Run as Run,
    latest_run as latest_run,
    record_failure as record_failure,
)
