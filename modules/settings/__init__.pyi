from .base import (
    Fraction as Fraction,
    Settings as Settings,
    from_custom_config as from_custom_config,
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
