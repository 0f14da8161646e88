from .features import FeatureCache as FeatureCache
from .of_classes import class_batches as class_batches
from .of_triplets import neighbour_batches as neighbour_batches, triplet_batches as triplet_batches
from .pixel_cache import CacheLimits as CacheLimits
from .pools import LookUp as LookUp, Share as Share
from .reading import (
    LabelledImages as LabelledImages,
    TransformImages as TransformImages,
    count_classes as count_classes,
    labelled_images as labelled_images,
    validation_images as validation_images,
)
from .sizes import choose_batch_size as choose_batch_size
