from .decisions import (
    DECISION_KEY as DECISION_KEY,
    DECISION_NODE as DECISION_NODE,
    JUDGED_MODEL as JUDGED_MODEL,
    RECIPE as RECIPE,
    TRAIN as TRAIN,
    UPDATE_LAST_NODE as UPDATE_LAST_NODE,
    UPDATE_NODE as UPDATE_NODE,
    WHY as WHY,
    skips_training as skips_training,
)
from .executions import (
    DONE as DONE,
    ERROR as ERROR,
    NO_DATA as NO_DATA,
    Value as Value,
    executions_of_node as executions_of_node,
    executions_of_nodes as executions_of_nodes,
    executions_of_pipeline as executions_of_pipeline,
    executions_of_run as executions_of_run,
    executions_of_runs as executions_of_runs,
    find_execution as find_execution,
    has_run as has_run,
    mark_failed as mark_failed,
    plain_values as plain_values,
    update_execution as update_execution,
)
from .lineage import (
    MADE as MADE,
    READ as READ,
    Lineage as Lineage,
    all_artifacts as all_artifacts,
    artifacts_by_id as artifacts_by_id,
    artifacts_by_type as artifacts_by_type,
    find_events as find_events,
)
from .models import (
    BLESSED as BLESSED,
    CHECKSUMS as CHECKSUMS,
    EXTRAS as EXTRAS,
    PUSHED as PUSHED,
    REASON as REASON,
    VERSION as VERSION,
    Models as Models,
    serving_files as serving_files,
)
from .runs import (
    NodeExecution as NodeExecution,
    PipelineRun as PipelineRun,
    Values as Values,
    find_running as find_running,
    read_pipeline_run as read_pipeline_run,
    read_pipeline_runs as read_pipeline_runs,
)
