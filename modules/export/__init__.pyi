from .projector import write_pictures as write_pictures
from .saved_model import EmbeddingModule as EmbeddingModule
from .tflite import comparison_batches as comparison_batches, export_tflite as export_tflite
from .tflite_report import (
    TFLiteReport as TFLiteReport,
    extra_assets as extra_assets,
    read_tflite_report as read_tflite_report,
)
