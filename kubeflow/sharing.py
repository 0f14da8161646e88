"""Which nodes share a pod: those that would only wait for one another anyway.

A pod costs a run 20 to 30 seconds whatever it does: Kubeflow's own pod before it, the image, the
imports, and the controller that looks every 10 seconds. What counts is the longest way through the
graph, its levels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

TRAINER = "Trainer"  # the node that gets the accelerators, and may have workers beside it
# Nodes that look something up or write a small file. They need no place of their own.
_LIGHT = re.compile(r".*(Resolver|SchemaGen|Pusher)|ExampleValidator|ReportGen")


class Pod(NamedTuple):
    """What one task of Kubeflow runs.

    Attributes:
        nodes: One after the other, in the order of the pipeline.
        after: Places of the pods, in the list of all, that must have succeeded before.
    """

    nodes: tuple[str, ...]
    after: tuple[int, ...]

    @property
    def name(self) -> str:
        """As Kubeflow shows it; no node has a hyphen in its id."""
        return "-".join(self.nodes)

    @property
    def task(self) -> str:
        """Its key in the graph: `evaluator-to-pusher`."""
        ends = dict.fromkeys((self.nodes[0], self.nodes[-1]))
        return "-to-".join(task_name(node) for node in ends)


def task_name(node: str) -> str:
    """The name of a node as a key: `BaselineResolver` is `baseline-resolver`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", node)
    return words.strip("-").lower()


def share_pods(
    nodes: Mapping[str, Collection[str]], alone: Collection[str], *, share: bool = True
) -> list[Pod]:
    """Puts the nodes of a pipeline into pods.

    A node joins the pod of the one node that it waits for, unless others wait for that one too and
    have as long a way before them: these run beside it. A light node joins the one pod that needs
    it, or else the last one that it waits for; if it waits for several side by side, it is alone.

    Args:
        nodes: In topological order, each with those that it waits for.
        alone: Nodes that no other but light ones join: the Trainer, and what has resources of its
            own.
        share: False gives each node a pod of its own.

    Returns:
        In topological order.

    >>> chain = {"A": [], "B": ["A"], "C": ["B"], "D": ["B"], "Trainer": ["C", "D"]}
    >>> [pod.nodes for pod in share_pods(chain, {"Trainer"})]
    [('A', 'B'), ('C',), ('D',), ('Trainer',)]
    """
    if not share:
        places = {node: place for place, node in enumerate(nodes)}
        return [Pod((n,), tuple(sorted(places[b] for b in nodes[n]))) for n in nodes]
    before = _ancestors(nodes)
    heavy = [node for node in nodes if node in alone or not _LIGHT.fullmatch(node)] or [*nodes]
    leader = _chains(heavy, before, alone)
    _place_light(nodes, before, leader)
    return _pods(nodes, leader)


def _ancestors(nodes: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    before: dict[str, set[str]] = {}
    for node, upstream in nodes.items():
        before[node] = set(upstream).union(*(before[one] for one in upstream))
    return before


def _chains(
    heavy: list[str], before: Mapping[str, set[str]], alone: Collection[str]
) -> dict[str, str]:
    """Joins heavy nodes; returns the first node of the pod of each."""
    waits = {}  # directly: for none that is behind another one
    for node in heavy:
        all_before = [one for one in heavy if one in before[node]]
        waits[node] = [a for a in all_before if not any(a in before[b] for b in all_before)]
    following = {node: [one for one in heavy if node in waits[one]] for node in heavy}
    height: dict[str, int] = {}
    for node in reversed(heavy):
        height[node] = 1 + max((height[one] for one in following[node]), default=0)
    leader: dict[str, str] = {}
    for node in heavy:
        leader[node] = node
        if len(waits[node]) == 1 and not {node, *waits[node]} & set(alone):
            (previous,) = waits[node]
            beside = [one for one in following[previous] if one != node]
            if all(height[one] < height[node] for one in beside):
                leader[node] = leader[previous]
    return leader


def _place_light(
    nodes: Mapping[str, Collection[str]],
    before: Mapping[str, set[str]],
    leader: dict[str, str],
) -> None:
    """Gives each light node a pod; the last ones first, so that those after it have theirs."""
    order = {pod.nodes[0]: place for place, pod in enumerate(_pods(nodes, leader))}
    heavy = set(leader)
    behind: dict[str, set[str]] = {first: set() for first in order}
    for one in heavy:
        behind[leader[one]] |= {leader[a] for a in before[one] & heavy}
    for node in reversed([*nodes]):
        if node in leader:
            continue
        needed_by = {leader[one] for one, upstream in nodes.items() if node in upstream}
        if len(needed_by) == 1:
            leader[node] = needed_by.pop()
        else:
            reached = {leader[one] for one in before[node] & heavy} or {next(iter(order))}
            last = max(reached, key=order.__getitem__)
            # Of pods side by side none may wait for the others because of a light node.
            leader[node] = last if reached - {last} <= behind[last] else node


def _pods(nodes: Mapping[str, Collection[str]], leader: Mapping[str, str]) -> list[Pod]:
    """The pods of the nodes that have one, in topological order."""
    members: dict[str, list[str]] = {}
    for node in nodes:
        if node in leader:
            members.setdefault(leader[node], []).append(node)
    before = _ancestors(nodes)
    after = {
        first: {leader[a] for one in inside for a in before[one] if a in leader} - {first}
        for first, inside in members.items()
    }
    order: list[str] = []
    while len(order) < len(members):
        order.append(next(p for p in members if p not in order and after[p] <= {*order}))
    places = {first: place for place, first in enumerate(order)}
    return [Pod(tuple(members[p]), _direct(p, after, places)) for p in order]


def _direct(pod: str, after: Mapping[str, set[str]], places: Mapping[str, int]) -> tuple[int, ...]:
    """Those that a pod waits for, without the ones behind another of them."""
    behind: Iterable[str] = set().union(*(after[one] for one in after[pod]))
    return tuple(sorted(places[one] for one in after[pod] - set(behind)))
