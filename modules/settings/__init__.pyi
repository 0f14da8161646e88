from .base import (
    Fraction as Fraction,
    Settings as Settings,
    check_settings as check_settings,
    read_table as read_table,
)
from .export import ExportSettings as ExportSettings
from .image import ImageSettings as ImageSettings
from .model import ModelSettings as ModelSettings
from .training import (
    AugmentationSettings as AugmentationSettings,
    LossSettings as LossSettings,
    OptimizerSettings as OptimizerSettings,
    TrainingSettings as TrainingSettings,
)
from .triplets import TripletSettings as TripletSettings
