from .checkpoints import (
    checkpoint_folder as checkpoint_folder,
    read_code_fingerprint as read_code_fingerprint,
)
from .fitting import compile_model as compile_model, fit as fit, make_strategy as make_strategy
