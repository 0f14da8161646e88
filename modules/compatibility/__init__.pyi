from .across import ScoreAcross as ScoreAcross, read_across as read_across
from .changed_results import (
    CompareResults as CompareResults,
    read_changed_results as read_changed_results,
)
from .procrustes import learn_map as learn_map, read_map as read_map
from .report import (
    CHURN_FILE as CHURN_FILE,
    COMPATIBILITY_FILE as COMPATIBILITY_FILE,
    COMPATIBILITY_FOLDER as COMPATIBILITY_FOLDER,
    MAP_FILE as MAP_FILE,
    ChurnReport as ChurnReport,
    CompatibilityReport as CompatibilityReport,
    Way as Way,
    churn_path as churn_path,
    compatibility_path as compatibility_path,
    read_churn as read_churn,
    read_compatibility as read_compatibility,
)
from .verdict import (
    find_verdict as find_verdict,
    judge_churn as judge_churn,
    judge_compatibility as judge_compatibility,
)
