"""Trainer: TFX's node of that name, whose module_file is imported from the project."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
