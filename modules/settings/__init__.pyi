from .audit import AuditSettings as AuditSettings
from .base import (
    Fraction as Fraction,
    Settings as Settings,
    check_settings as check_settings,
    read_table as read_table,
)
from .compatibility import (
    VERDICTS as VERDICTS,
    CompatibilitySettings as CompatibilitySettings,
    Verdict as Verdict,
)
from .evaluation import (
    Confidence as Confidence,
    EvaluationSettings as EvaluationSettings,
    Threshold as Threshold,
)
from .export import ExportSettings as ExportSettings
from .image import (
    MAX_PIXELS as MAX_PIXELS,
    Fit as Fit,
    ImageLimits as ImageLimits,
    ImageSettings as ImageSettings,
    ImageTable as ImageTable,
    rgb as rgb,
)
from .index import (
    IndexKind as IndexKind,
    IndexSettings as IndexSettings,
    IndexStorage as IndexStorage,
)
from .loss import LossSettings as LossSettings, loss_keys as loss_keys
from .model import (
    KERAS_HUB as KERAS_HUB,
    PRESET as PRESET,
    WEIGHTS as WEIGHTS,
    ModelSettings as ModelSettings,
)
from .own_code import is_own as is_own, load_own as load_own
from .report import ReportSettings as ReportSettings
from .training import (
    MULTI_WORKER as MULTI_WORKER,
    AugmentationSettings as AugmentationSettings,
    OptimizerSettings as OptimizerSettings,
    TrainingSettings as TrainingSettings,
)
from .triplets import TripletSettings as TripletSettings
from .validation import (
    ComparatorThresholds as ComparatorThresholds,
    DriftThresholds as DriftThresholds,
    SkewThresholds as SkewThresholds,
    ValidationSettings as ValidationSettings,
)
