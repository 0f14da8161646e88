from .projector import write_projector as write_projector, write_tsne as write_tsne
from .saved_model import EmbeddingModule as EmbeddingModule
from .tflite import MAX_COMPARED as MAX_COMPARED, export_tflite as export_tflite
from .tflite_report import (
    TFLiteReport as TFLiteReport,
    extra_assets as extra_assets,
    read_tflite_report as read_tflite_report,
)
