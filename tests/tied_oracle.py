"""Scores of one query whose neighbours may be tied: the mean over all orders of the tied ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

Scores = dict[str, Fraction | float]
Groups = Sequence[Sequence[bool]]  # whether each neighbour is a hit, tied ones together


def tied_groups(distances: Sequence[float], hits: Sequence[bool]) -> list[list[bool]]:
    """Groups of equal distance; the distances ascend, and NaN is tied with nothing."""
    groups: list[list[bool]] = []
    for number, hit in enumerate(hits):
        if number and distances[number] == distances[number - 1]:
            groups[-1].append(hit)
        else:
            groups.append([hit])
    return groups


def ordered_scores(hits: Sequence[bool], ks: Sequence[int]) -> Scores:
    """The scores of one order, by their definitions; at least one neighbour is a hit."""
    relevant = sum(hits)
    row: Scores = {}
    for k in ks:
        row[f"precision@{k}"] = Fraction(sum(hits[:k]), k)
        row[f"precision_capped@{k}"] = Fraction(sum(hits[:k]), min(k, relevant))
        row[f"recall@{k}"] = Fraction(any(hits[:k]))
        row[f"ndcg@{k}"] = gain(hits[:k]) / gain([True] * min(k, relevant))
    row["r_precision"] = Fraction(sum(hits[:relevant]), relevant)
    precisions = (Fraction(sum(hits[:i]), i) for i in range(1, relevant + 1) if hits[i - 1])
    row["map@r"] = sum(precisions, Fraction()) / relevant
    row["mrr"] = Fraction(1, list(hits).index(True) + 1)
    return row


def enumerated_scores(groups: Groups, ks: Sequence[int]) -> Scores:
    """Lists every order and takes the mean of its scores."""
    of_orders = [ordered_scores(order, ks) for order in orders(groups)]
    return {name: sum(row[name] for row in of_orders) / len(of_orders) for name in of_orders[0]}


def orders(groups: Groups) -> Iterator[list[bool]]:
    """Every order of all neighbours that leaves the groups in their places."""
    for parts in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield list(itertools.chain(*parts))


def expected_scores(groups: Groups, ks: Sequence[int]) -> Scores:
    """The same from the chances of single places, of pairs of places, and of the first k places."""
    places = [number for number, group in enumerate(groups) for _ in group]
    sizes, hits = [len(group) for group in groups], [sum(group) for group in groups]
    relevant = sum(hits)
    chances = [Fraction(hits[g], sizes[g]) for g in places]

    def both(i: int, j: int) -> Fraction:
        """The chance that two different places hold hits."""
        g = places[i]
        if g != places[j]:
            return chances[i] * chances[j]
        return Fraction(hits[g] * (hits[g] - 1), sizes[g] * (sizes[g] - 1))

    def none(k: int) -> Fraction:
        """The chance that the first k places hold no hit."""
        result = Fraction(1)
        for g in range(len(groups)):
            taken = places[:k].count(g)
            result *= Fraction(math.comb(sizes[g] - hits[g], taken), math.comb(sizes[g], taken))
        return result

    row: Scores = {}
    for k in ks:
        row[f"precision@{k}"] = sum(chances[:k], Fraction()) / k
        row[f"precision_capped@{k}"] = sum(chances[:k], Fraction()) / min(k, relevant)
        row[f"recall@{k}"] = 1 - none(k)
        row[f"ndcg@{k}"] = gain(chances[:k]) / gain([True] * min(k, relevant))
    row["r_precision"] = sum(chances[:relevant], Fraction()) / relevant
    products = [
        (chances[i] + sum((both(j, i) for j in range(i)), Fraction())) / (i + 1)
        for i in range(relevant)
    ]
    row["map@r"] = sum(products, Fraction()) / relevant
    row["mrr"] = sum(((none(i) - none(i + 1)) / (i + 1) for i in range(len(places))), Fraction())
    return row


def gain(hits: Sequence[bool | Fraction]) -> float:
    """Discounted cumulative gain with binary relevance."""
    return sum(hit / math.log2(i + 1) for i, hit in enumerate(hits, start=1))
