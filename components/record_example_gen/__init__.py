"""RecordExampleGen: TFX's ImportExampleGen, which here reads one span after the other."""

from components.record_example_gen.component import RecordExampleGen

__all__ = ["RecordExampleGen"]
