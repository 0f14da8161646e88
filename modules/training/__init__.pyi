from .callbacks import compile_embedding as compile_embedding
from .checkpoints import stable_folder as stable_folder
from .fitting import compile_model as compile_model, fit as fit, make_strategy as make_strategy
