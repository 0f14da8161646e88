"""What the triplets depend on besides the data, and which values are allowed."""

from __future__ import annotations

import dataclasses
from typing import Any

RANDOM, CLASS_BALANCED, SEMI_HARD, HARD = "random", "class_balanced", "semi_hard", "hard"
STRATEGIES = (RANDOM, CLASS_BALANCED, SEMI_HARD, HARD)
POSITIVES = (RANDOM, HARD)

_MINIMUM = {"triplets_per_anchor": 1, "bucket_size": 2, "max_per_class": 0}
_CHOICES = {"strategy": STRATEGIES, "positives": POSITIVES}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Parameters of the sampling; the component says what each does.

    Attributes:
        triplets_per_anchor: How often each example is an anchor.
        bucket_size: Mean number of examples in a bucket.
        seed: Any integer.
        strategy: One of `STRATEGIES`.
        positives: One of `POSITIVES`.
        max_per_class: The most anchors of a class; 0 for no limit.

    Raises:
        ValueError: If a value, or the combination, is not allowed.
    """

    triplets_per_anchor: int = 1
    bucket_size: int = 4096
    seed: int = 0
    strategy: str = RANDOM
    positives: str = RANDOM
    max_per_class: int = 0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            check_setting(name, value)
        if self.positives == HARD and self.mines_negatives and self.triplets_per_anchor > 1:
            raise ValueError(
                f"TripletGen: with positives = 'hard' and strategy = {self.strategy!r} an anchor "
                f"has one triplet, so triplets_per_anchor = {self.triplets_per_anchor} would write "
                "it more than once. Set triplets_per_anchor = 1 or positives = 'random'."
            )

    @property
    def mines_negatives(self) -> bool:
        """Whether negatives are chosen by their embeddings."""
        return self.strategy in (SEMI_HARD, HARD)

    @property
    def needs_model(self) -> bool:
        """Whether anything is chosen by embeddings."""
        return self.mines_negatives or self.positives == HARD

    def without_model(self) -> Settings:
        """The same with everything that needs a model drawn at random."""
        strategy = RANDOM if self.mines_negatives else self.strategy
        return dataclasses.replace(self, strategy=strategy, positives=RANDOM)


def check_setting(name: str, value: Any) -> None:
    """Checks one parameter.

    Args:
        name: Name of a field of `Settings`.
        value: What the user set it to.

    Raises:
        ValueError: If the number is too small, or the name is not one of those allowed.
    """
    if name in _MINIMUM and value < _MINIMUM[name]:
        raise ValueError(
            f"TripletGen: {name} is {value}, but must be an integer of at least {_MINIMUM[name]}."
        )
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(
            f"TripletGen: {name} is {value!r}, but must be one of {', '.join(_CHOICES[name])}."
        )
