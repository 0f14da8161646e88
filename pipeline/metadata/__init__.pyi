from .artifact_files import (
    FILES as FILES,
    describe_files as describe_files,
    files_fault as files_fault,
    note_files as note_files,
)
from .changes import make_latest as make_latest, mark_deleted as mark_deleted
from .connection import (
    PASSWORD as PASSWORD,
    USERNAME as USERNAME,
    connect_store as connect_store,
    connection_config as connection_config,
    open_store as open_store,
)
from .exclusive import check_folder as check_folder, hold_pipeline as hold_pipeline
from .executions import find_execution as find_execution, mark_failed as mark_failed
from .leftovers import close_execution as close_execution, close_killed as close_killed
from .rejections import (
    Rejections as Rejections,
    data_rejections as data_rejections,
    model_rejections as model_rejections,
)
from .rollbacks import (
    end_rollback as end_rollback,
    extras_to_push as extras_to_push,
    recorded_checksums as recorded_checksums,
    served_before as served_before,
    start_rollback as start_rollback,
    unfinished_rollbacks as unfinished_rollbacks,
)
from .run_state import InARow as InARow, RunState as RunState
from .run_summary import (
    BASELINE as BASELINE,
    CANDIDATE as CANDIDATE,
    Evaluation as Evaluation,
    NodeRun as NodeRun,
    Run as Run,
    RunSummary as RunSummary,
)
from .runs import (
    EXAMPLE_GENS as EXAMPLE_GENS,
    latest_run as latest_run,
    read_latest as read_latest,
    read_runs as read_runs,
)
from .sqlite_file import check_database as check_database
