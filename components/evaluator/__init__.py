"""Evaluator: TFX's node of that name, which here also says why, and may search elsewhere."""

from components.evaluator.component import Evaluator

__all__ = ["Evaluator"]
