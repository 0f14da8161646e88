"""Stops trainings that cannot lead to a model, and only those."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from modules.retrieval import COLLAPSED_SPREAD
from modules.settings import TrainingSettings

# How near, as a fraction of it, a loss is to its value without any separation to count as stuck.
STUCK_TOLERANCE = 0.1
# So much farther (squared L2) than those of one class are the images of different classes in an
# embedding that separates them: it is not stuck, wherever the loss of the hardest triplets stands.
SEPARATED = 0.2
_SPREADS = ("spread", "served_spread", "val_spread")
_SCORES = ("val_precision@1", "val_map@r")
_ADVICE = (
    "Lower training.learning_rate (or raise it, if d_ap and d_an do not move at all), let it rise "
    "slowly (training.rate_warmup_steps), or use "
    "training.mining = 'semi_hard' or 'all' (with 'hard', more training.warmup_steps); no model "
    "was written."
)


class TrainingFailedError(RuntimeError):
    """Training produced no usable model; the message says why and what to change."""


class FailureGuard(keras.callbacks.Callback):
    """Stops training that cannot lead to a model.

    It comes after the validation and all that may end the training, and looks for one of three
    faults:

    - numbers that are not finite: at once if the validation embeddings are not (the network is
      spoilt), after `guard_window` validations in a row if it is the loss alone (a step whose
      float16 gradients overflow is left out, and spoils nothing);
    - a collapse: all embeddings of the batches share one point, or those that the network makes as
      it is served, of training or of validation images;
    - no separation: the loss stands at its value without any (the margin, or log 2 for
      `soft_margin`; other losses have no such value), with positives as far away as negatives.

    The last two end training after `guard_window` validations in a row, and count only while
    nothing changes for the better. A collapse that widens by a tenth is a network on its way; but
    a training that ends and had nothing else made no model. A separation is on its way when
    retrieval gets better by more than its standard error, or d_an − d_ap grows; and it is there
    when the validation images show it, or when retrieval is beyond doubt better than at the first
    validation. That such a training no longer improves is for `BestWeights` to judge.

    Args:
        settings: The loss and `guard_window`.
        queries: Images whose retrieval is measured.
    """

    def __init__(self, settings: TrainingSettings, queries: int) -> None:
        super().__init__()
        self._window = settings.guard_window
        self._queries = queries
        self._stuck_at = settings.unseparated_loss
        self._not_finite = self._failing = 0
        self._learnt = self._was_apart = False
        # What a value has to exceed to count as grown, and the scores of the first validation.
        self._best: dict[str, float] = {}
        self._first: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the means of the steps since the last validation, and at the validation.

        Raises:
            TrainingFailedError: See above; the message says what to change.
        """
        logs = logs or {}
        if self._check_finite(epoch, logs):
            return
        self._learnt |= self._has_learnt(logs)
        better = self._improved(logs)
        collapsed = [name for name in _SPREADS if logs.get(name, math.inf) < COLLAPSED_SPREAD]
        self._was_apart |= not collapsed
        wider = [self._grew(name, logs[name], self._best.get(name, 0) / 10) for name in collapsed]
        fault = None
        if collapsed:
            fault = None if any(wider) else _collapse(logs)
        elif not better and not self._learnt and self._is_stuck(logs):
            fault = _no_separation(logs)
        self._failing = self._failing + 1 if fault else 0
        # Trainings may end before the window does; what never was anything else is no model.
        ends = self.model is not None and self.model.stop_training
        never_apart = bool(collapsed) and ends and not self._was_apart
        if never_apart:
            fault = _collapse(logs)
        if fault and (self._failing >= self._window or never_apart):
            rows = "all" if never_apart else self._failing
            raise TrainingFailedError(f"{fault} (validations in a row: {rows}). {_ADVICE}")

    def _check_finite(self, epoch: int, logs: dict[str, Any]) -> bool:
        """Whether there is nothing to compare."""
        if math.isfinite(logs["loss"]) and math.isfinite(logs["val_spread"]):
            self._not_finite = 0
            return False
        self._not_finite += 1
        if not math.isfinite(logs["val_spread"]) or self._not_finite >= self._window:
            raise TrainingFailedError(
                f"The loss is {logs['loss']} at validation {epoch + 1}, and the spread of the "
                f"validation embeddings {logs['val_spread']}. Lower training.learning_rate, or set "
                "training.clip_norm = 1.0; no model was written."
            )
        return True

    def _improved(self, logs: dict[str, Any]) -> bool:
        """Whether retrieval or the distances are better than when they were last."""
        grown = [
            self._grew(name, logs[name], self._standard_error(self._best.get(name, 0.0)))
            for name in _SCORES
        ]
        smallest_gain = STUCK_TOLERANCE / 4 * (self._stuck_at or SEPARATED)
        grown.append(self._grew("gap", logs["d_an"] - logs["d_ap"], smallest_gain))
        return any(grown)

    def _has_learnt(self, logs: dict[str, Any]) -> bool:
        """Whether retrieval is beyond doubt better than at the first validation."""
        for name in _SCORES:
            first = self._first.setdefault(name, logs[name])
            if logs[name] > first + 2 * self._standard_error(first):
                return True
        return False

    def _grew(self, name: str, value: float, by: float) -> bool:
        """Whether a value is by more than so much above the last one that was."""
        known = name in self._best
        if known and value <= self._best[name] + by:
            return False
        self._best[name] = value
        return known

    def _standard_error(self, score: float) -> float:
        """Of a mean over the queries of values from 0 to 1, with one hit and one miss added."""
        share = (score * self._queries + 1) / (self._queries + 2)
        return math.sqrt(share * (1 - share) / self._queries)

    def _is_stuck(self, logs: dict[str, Any]) -> bool:
        if logs["val_d_an"] - logs["val_d_ap"] >= SEPARATED:
            return False
        if self._stuck_at is None:
            return True
        tolerance = STUCK_TOLERANCE * self._stuck_at
        return (
            abs(logs["loss"] - self._stuck_at) <= tolerance
            and abs(logs["d_an"] - logs["d_ap"]) <= tolerance
        )

    def state(self) -> dict[str, np.ndarray]:
        """What a later process needs to go on."""
        levels = {"best": self._best, "first": self._first}
        return {
            "not_finite": np.array(self._not_finite),
            "failing": np.array(self._failing),
            "learnt": np.array(self._learnt),
            "was_apart": np.array(self._was_apart),
        } | {
            f"{kind}/{name}": np.array(value)
            for kind, values in levels.items()
            for name, value in values.items()
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""
        self._not_finite, self._failing = int(state["not_finite"]), int(state["failing"])
        self._learnt, self._was_apart = bool(state["learnt"]), bool(state["was_apart"])
        self._best, self._first = (
            {
                name.removeprefix(f"{kind}/"): float(value)
                for name, value in state.items()
                if name.startswith(f"{kind}/")
            }
            for kind in ("best", "first")
        )


def _collapse(logs: dict[str, Any]) -> str:
    if logs["spread"] < COLLAPSED_SPREAD:
        return (
            f"The embedding has collapsed to one point (spread {logs['spread']:.1e}, loss "
            f"{logs['loss']:.3f})"
        )
    images, name = (
        ("training", "served_spread")
        if logs.get("served_spread", math.inf) < COLLAPSED_SPREAD
        else ("validation", "val_spread")
    )
    return (
        f"As the network is served, the embeddings of the {images} images have collapsed to one "
        f"point (spread {logs[name]:.1e}), while those of the training batches have not (spread "
        f"{logs['spread']:.1e}): the statistics of batch normalisation do not fit the data. Use "
        "larger batches, another model.name, or model.batch_norm = false"
    )


def _no_separation(logs: dict[str, Any]) -> str:
    return (
        f"The loss is stuck at {logs['loss']:.3f}, with positives as far away as negatives (d_ap "
        f"{logs['d_ap']:.3f}, d_an {logs['d_an']:.3f}) and retrieval no better than before"
    )
