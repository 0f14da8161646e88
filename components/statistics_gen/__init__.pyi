from .component import StatisticsGen as StatisticsGen
from .image_features import IMAGE_FEATURES as IMAGE_FEATURES
