from .ending import (
    ENDING as ENDING,
    end_when_told as end_when_told,
    ended_by as ended_by,
    tied_command as tied_command,
)
from .errors import (
    ApiError as ApiError,
    ConfigError as ConfigError,
    LockedError as LockedError,
    MetadataError as MetadataError,
    NoDataError as NoDataError,
    NodeFailedError as NodeFailedError,
    NotRunError as NotRunError,
    PipelineError as PipelineError,
    ProgramError as ProgramError,
    report as report,
    run_reporting as run_reporting,
)
from .exit_codes import ExitCode as ExitCode, exit_code_help as exit_code_help
from .lazy_tfx import defer_components as defer_components
from .lock import (
    LOCK_VARIABLE as LOCK_VARIABLE,
    check_unlocked as check_unlocked,
    hold_lock as hold_lock,
    is_locked as is_locked,
    lock_path as lock_path,
)
from .log_filters import (
    EVERYTHING as EVERYTHING,
    TENSORFLOW_CHATTER as TENSORFLOW_CHATTER,
    held_back as held_back,
    quiet_imports as quiet_imports,
    without_garbage_collection as without_garbage_collection,
)
from .places import check_places as check_places
from .programs import call_program as call_program, require_program as require_program
from .progress import NodeProgress as NodeProgress
from .scratch import own_scratch as own_scratch, scratch_path as scratch_path
from .terminal import Terminal as Terminal
from .verbosity import (
    VERBOSE_VARIABLE as VERBOSE_VARIABLE,
    in_short as in_short,
    is_verbose as is_verbose,
    set_verbose as set_verbose,
    without_bytes as without_bytes,
)
