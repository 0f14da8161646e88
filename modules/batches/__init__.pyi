from .of_classes import class_batches as class_batches
from .of_triplets import triplet_batches as triplet_batches
from .reading import (
    LabelledImages as LabelledImages,
    TransformImages as TransformImages,
    anchor_images as anchor_images,
    count_images as count_images,
)
