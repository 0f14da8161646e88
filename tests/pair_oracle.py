"""Losses of pairs and proxies by loops over rows, in float64, word by word from the papers."""

from __future__ import annotations

import math

import numpy as np


def _others(i: int, labels: list[int], candidates: list[int], same: bool) -> list[int]:
    """Candidates of the class of row i or of others; the first ones are the rows themselves."""
    return [j for j, c in enumerate(candidates) if j != i and (c == labels[i]) == same]


def multi_similarity(
    x: np.ndarray, labels: list[int], y: np.ndarray, candidates: list[int], *,
    alpha: float = 2, beta: float = 50, base: float = 0.5, epsilon: float = 0.1,
) -> tuple[float, float]:  # fmt: skip
    """Loss and the fraction of rows with a pair."""
    total, kept = 0.0, 0
    for i in range(len(x)):
        s = y @ x[i]
        positives = _others(i, labels, candidates, True)
        negatives = _others(i, labels, candidates, False)
        if not positives or not negatives:
            continue
        hardest_positive = min(s[j] for j in positives)
        hardest_negative = max(s[j] for j in negatives)
        p = [s[j] for j in positives if s[j] < hardest_negative + epsilon]
        n = [s[j] for j in negatives if s[j] > hardest_positive - epsilon]
        total += math.log(1 + sum(math.exp(-alpha * (v - base)) for v in p)) / alpha
        total += math.log(1 + sum(math.exp(beta * (v - base)) for v in n)) / beta
        kept += bool(p or n)
    return total / len(x), kept / len(x)


def supervised_contrastive(
    x: np.ndarray, labels: list[int], y: np.ndarray, candidates: list[int], *,
    temperature: float = 0.1,
) -> tuple[float, float]:  # fmt: skip
    """Loss and the fraction of rows with a positive."""
    terms = []
    for i in range(len(x)):
        weights = np.exp(y @ x[i] / temperature)
        everyone = sum(weights[j] for j in range(len(y)) if j != i)
        positives = _others(i, labels, candidates, True)
        if positives:
            terms.append(-np.mean([math.log(weights[p] / everyone) for p in positives]))
    return float(np.mean(terms)) if terms else 0.0, len(terms) / len(x)


def compatibility(
    x: np.ndarray, labels: list[int], y: np.ndarray, of_old: list[int], temperature: float = 0.1
) -> float:
    """The loss of new rows x among old rows y."""
    terms = []
    for i in range(len(x)):
        weights = np.exp(y @ x[i] / temperature)
        logs = [
            math.log(weights[j] / weights.sum()) for j in range(len(y)) if of_old[j] == labels[i]
        ]
        if logs:
            terms.append(-sum(logs) / len(logs))
    return sum(terms) / len(terms) if terms else 0.0


def proxy_anchor(
    x: np.ndarray, labels: list[int], classes: list[int], proxies: np.ndarray, *,
    alpha: float = 32, margin: float = 0.1,
) -> float:  # fmt: skip
    """The loss."""
    positive_terms, negative_terms = [], []
    for c, proxy in zip(classes, proxies, strict=True):
        s = x @ (proxy / np.linalg.norm(proxy))
        inside = [s[i] for i in range(len(x)) if labels[i] == c]
        outside = [s[i] for i in range(len(x)) if labels[i] != c]
        if inside:
            positive_terms.append(
                math.log(1 + sum(math.exp(-alpha * (v - margin)) for v in inside))
            )
        negative_terms.append(math.log(1 + sum(math.exp(alpha * (v + margin)) for v in outside)))
    return float(np.mean(positive_terms) + np.mean(negative_terms))


def mean_distances(
    x: np.ndarray, labels: list[int], y: np.ndarray, candidates: list[int]
) -> list[float]:
    """Of positives and of negatives; 0 if there are none."""
    return [
        float(np.mean(values)) if values else 0.0
        for same in (True, False)
        for values in [
            [
                float(np.sum((x[i] - y[j]) ** 2))
                for i in range(len(x))
                for j in _others(i, labels, candidates, same)
            ]
        ]
    ]
