from .copies import EVAL as EVAL, TRAIN as TRAIN, find_copies as find_copies
from .findings import (
    Finding as Finding,
    Findings as Findings,
    member as member,
    merge_findings as merge_findings,
)
from .hashes import SHIFTED as SHIFTED
from .labels import (
    LabelVerdict as LabelVerdict,
    judge_labels as judge_labels,
    rank_labels as rank_labels,
)
from .looks import Looks as Looks, look_at as look_at
from .near import (
    LONG_WORDS as LONG_WORDS,
    MOST_BITS as MOST_BITS,
    find_near as find_near,
    find_shifted as find_shifted,
    long_words as long_words,
)
from .report import (
    AUDIT_FILE as AUDIT_FILE,
    BLANK as BLANK,
    AuditReport as AuditReport,
    Group as Group,
    make_report as make_report,
    read_audit as read_audit,
    suspect_ids as suspect_ids,
)
from .sightings import Sightings as Sightings, join_sightings as join_sightings
from .suspects import (
    SUSPECTS_FILE as SUSPECTS_FILE,
    read_suspects as read_suspects,
    write_suspects as write_suspects,
)
