"""The threshold at a rate of false accepts, from a histogram of distances, in numpy.

Two images are accepted as of one class when their squared distance is below a threshold. The
operating point is the largest threshold whose false accept rate is not above a given one:

    FAR(t) = pairs of two classes with d < t / pairs of two classes,    t* = max {t : FAR(t) ≤ rate}

Pairs are counted in bins (`modules.retrieval.verification`), and a threshold is the lower edge of a
bin: the first whose pairs would bring the rate above the given one. So equal distances are accepted
all or none, the rate is never exceeded, and t* lies less than a factor of 1 + 2⁻¹¹ above what is
found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.retrieval.verification import BIN_SHIFT, verification_metrics

# Thresholds at which the pairs are counted by class: those at so much of the rate.
_BELOW, _ABOVE = 16, 32
_STEPS_BELOW, _STEPS_ABOVE = 16, 47
_NEARLY_ALL = np.nextafter(1.0, 0.0)


@dataclass(frozen=True, eq=False)
class OperatingGrid:
    """Thresholds around the operating point of a model.

    Attributes:
        rate: The false accept rate that was asked for.
        edges: float32 [K], squared distances, ascending; those at a sixteenth to 32 times the rate.
        chosen: Which of them is the operating point.
        verification: The metrics of all pairs, as `verification_metrics` gives them.
    """

    rate: float
    edges: np.ndarray
    chosen: int
    verification: dict[str, float]


def find_grid(histogram: np.ndarray, rate: float) -> OperatingGrid:
    """Finds the operating point and the thresholds around it.

    Args:
        histogram: int64 [2, BINS], filled by `modules.retrieval.verification.add_pairs`.
        rate: The false accept rate, above 0 and below 1.

    Returns:
        The grid; without pairs of two classes nothing is accepted at its one threshold, 0.
    """
    steps = np.concatenate(
        [
            np.geomspace(1 / _BELOW, 1, _STEPS_BELOW, endpoint=False),
            [1.0],
            np.geomspace(1, _ABOVE, _STEPS_ABOVE + 1)[1:],
        ]
    )
    rates = np.minimum(rate * steps, _NEARLY_ALL)
    # Behind each bin. Dividing, as whoever checks it would: 29 of 100 is a rate of 0.29.
    accepted = np.cumsum(histogram[1])
    if accepted[-1]:
        first_beyond = np.searchsorted(accepted / accepted[-1], rates, side="right")
    else:
        first_beyond = np.zeros(len(rates), np.int64)
    edges = (first_beyond.astype(np.uint32) << np.uint32(BIN_SHIFT)).view(np.float32)
    return OperatingGrid(
        rate,
        np.unique(edges),
        int(np.searchsorted(np.unique(edges), edges[_STEPS_BELOW])),
        verification_metrics(histogram),
    )
