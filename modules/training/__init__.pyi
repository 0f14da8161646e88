from .checkpoints import (
    checkpoint_folder as checkpoint_folder,
    files_state as files_state,
    read_code_fingerprint as read_code_fingerprint,
)
from .choices import (
    CHOICES_FILE as CHOICES_FILE,
    Choice as Choice,
    choose as choose,
    write_choices as write_choices,
)
from .compatibility import embed_by_earlier as embed_by_earlier
from .fitting import compile_model as compile_model, fit as fit, make_strategy as make_strategy
from .guard import TrainingFailedError as TrainingFailedError
from .learning import Learning as Learning, prepare_learning as prepare_learning
from .on_workers import find_place as find_place
from .report import TRAINING_FILE as TRAINING_FILE
