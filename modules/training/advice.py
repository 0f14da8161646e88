"""What a training tells its owner when it overfits or starves, in plain words."""

from __future__ import annotations

import dataclasses

from modules.settings import TrainingSettings

# Fractions of the mined triplets with a loss above 0.
_NOTHING_LEFT = 0.05
# MAP@R below which there is something to gain.
_GOOD = 0.8
# Of the best MAP@R so far, so much is more than noise.
_WORSE = 0.95
_FEW_CLASSES = 5
_MOST = 0.5
_EARLY = 1 / 3


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a training stands at a validation.

    Attributes:
        active: Fraction of the mined triplets with a loss above 0, since the last validation.
        classes: Mean number of classes in a batch.
        alone: Mean fraction of a batch's images without another one of their class in it.
        map_at_r: Of this validation.
        best: The highest MAP@R so far.
        step: Steps made.
        steps: Of the whole training; 0 if not known yet.
        ended: Whether the steps or the minutes are used up.
    """

    active: float
    classes: float
    alone: float
    map_at_r: float
    best: float
    step: int
    steps: int
    ended: bool = False


def advise(progress: Progress, settings: TrainingSettings) -> dict[str, str]:
    """Says what to change.

    Args:
        progress: Where the training stands.
        settings: What it was told.

    Returns:
        Sentences, by a name of what they are about: `overfits`, `too_easy`, `few_classes`,
        `alone`, `too_short`. Empty for a training without such a fault.

    >>> from modules.settings import TrainingSettings
    >>> good = Progress(0.3, 10, 0.0, 0.9, 0.9, 600, 600)
    >>> advise(good, TrainingSettings())
    {}
    """
    found = {}
    idle = progress.active < _NOTHING_LEFT
    poor = progress.map_at_r < _GOOD
    worse = progress.map_at_r < _WORSE * progress.best
    if idle and (poor or worse):
        early = progress.steps > 0 and progress.step <= _EARLY * progress.steps
        easier = settings.mining in ("none", "all", "easy_positive")
        if early and easier:
            found["too_easy"] = _too_easy(progress, settings)
        else:
            found["overfits"] = _overfits(progress, settings)
    if poor and progress.classes < _FEW_CLASSES:
        found["few_classes"] = (
            f"A batch holds {progress.classes:.0f} classes: a network learns to tell new classes "
            "apart from seeing many. Add images of more classes."
        )
    if progress.alone > _MOST:
        found["alone"] = (
            f"{progress.alone:.0%} of the images in a batch have no second image of their class "
            "there, and teach nothing as anchors. Add images to the small classes, or raise the "
            "number of images in a batch."
        )
    if progress.ended and progress.map_at_r >= progress.best and not idle and poor:
        found["too_short"] = (
            f"Validation MAP@R was best at the end ({progress.map_at_r:.3f}), with "
            f"{progress.active:.0%} of the triplets still active: more training.steps may help."
        )
    return found


def _overfits(progress: Progress, settings: TrainingSettings) -> str:
    remedies = []
    if not settings.moves_pixels:
        remedies.append(
            "random changes of the images (training.max_shift = 0.1, training.max_rotation = 0.03)"
        )
    remedies.append("model.dropout = 0.2")
    if progress.map_at_r < _WORSE * progress.best:
        remedies.append("fewer training.steps")
    remedies.append("more images")
    return (
        f"The training images are learnt by heart: {progress.active:.1%} of their triplets are "
        f"still active, but validation MAP@R is {progress.map_at_r:.3f} (best "
        f"{progress.best:.3f}). What helps: {', '.join(remedies[:-1])} or {remedies[-1]}."
    )


def _too_easy(progress: Progress, settings: TrainingSettings) -> str:
    harder = (
        "triplets.strategy = 'semi_hard' or training.mining = 'semi_hard'"
        if settings.mining == "none"
        else "training.mining = 'semi_hard' or 'hard'"
    )
    wider = ", or a larger training.margin" if settings.margin is not None else ""
    return (
        f"The triplets are too easy: after {progress.step} steps only {progress.active:.1%} of "
        f"them are still active, and validation MAP@R is {progress.map_at_r:.3f}. What helps: "
        f"{harder}{wider}."
    )
