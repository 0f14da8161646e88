"""ExampleValidator: TFX's node of that name, which here also stops the run."""

from components.example_validator.component import ExampleValidator

__all__ = ["ExampleValidator"]
