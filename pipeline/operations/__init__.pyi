from .audit import Audited as Audited, audit_latest as audit_latest
from .audit_page import write_audit_page as write_audit_page
from .audit_table import audit_tables as audit_tables
from .blame import (
    Blame as Blame,
    Outcome as Outcome,
    Trial as Trial,
    find_blame as find_blame,
    rejected_run as rejected_run,
)
from .blame_images import SpanVerdict as SpanVerdict
from .crontab import (
    cron_line as cron_line,
    install_entry as install_entry,
    remove_entry as remove_entry,
)
from .gc import (
    Plan as Plan,
    carry_out as carry_out,
    collect as collect,
    make_plan as make_plan,
    show_plan as show_plan,
)
from .history import show_history as show_history
from .index_push import alias_of as alias_of, push_index as push_index
from .leftovers import settle as settle, settle_local as settle_local
from .reference_scores import (
    UNTRAINED as UNTRAINED,
    latest_reference_scores as latest_reference_scores,
)
from .retraining import retrain as retrain
from .rollback import Rollback as Rollback, roll_back as roll_back
from .sentences import (
    describe_rejections as describe_rejections,
    describe_run as describe_run,
    format_spans as format_spans,
)
from .summary import SLICES as SLICES, show as show, show_latest as show_latest
from .systemd import (
    install_units as install_units,
    remove_units as remove_units,
    systemd_units as systemd_units,
    unit_folder as unit_folder,
)
from .tuning import (
    Candidate as Candidate,
    Tuned as Tuned,
    check_minutes as check_minutes,
    describe as describe,
    tune as tune,
    write_tuned as write_tuned,
)
