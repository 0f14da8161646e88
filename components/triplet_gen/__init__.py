"""TripletGen: a TFX node that makes triplets of labelled images."""

from components.triplet_gen.component import TripletGen

__all__ = ["TripletGen"]
