"""User code that TFX loads by path: preprocessing, networks, losses, trainer, evaluation."""
