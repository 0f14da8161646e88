"""StatisticsGen: TFX's node of that name, which here also measures the images."""

from components.statistics_gen.component import StatisticsGen
from components.statistics_gen.image_features import IMAGE_FEATURES

__all__ = ["IMAGE_FEATURES", "StatisticsGen"]
