"""Which nodes share a pod: what must hold for any graph, and the chains that there are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from kubeflow.sharing import Pod, share_pods, task_name

KINDS = ["", "", "", "Resolver", "SchemaGen"]  # two of five are light


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], set[str]]:
    """Up to 12 nodes in topological order, and some that stay alone."""
    names: list[str] = []
    nodes: dict[str, list[str]] = {}
    for number in range(draw(st.integers(1, 12))):
        before = draw(st.lists(st.sampled_from(names), unique=True, max_size=4)) if names else []
        name = f"N{number}{draw(st.sampled_from(KINDS))}"
        nodes[name] = before
        names.append(name)
    return nodes, draw(st.sets(st.sampled_from(names), max_size=3))


def is_light(node: str) -> bool:
    return node.endswith(("Resolver", "SchemaGen"))


def levels(pods: list[Pod]) -> int:
    height: list[int] = []
    for pod in pods:
        height.append(1 + max((height[place] for place in pod.after), default=0))
    return max(height)


@given(graphs())
def test_every_node_once_and_after_all_that_it_waits_for(graph) -> None:
    nodes, alone = graph
    pods = share_pods(nodes, alone)
    assert sorted(node for pod in pods for node in pod.nodes) == sorted(nodes)
    order = list(nodes)
    place_of = {node: place for place, pod in enumerate(pods) for node in pod.nodes}
    behind: list[set[int]] = []
    for place, pod in enumerate(pods):
        assert all(other < place for other in pod.after)
        behind.append(set(pod.after).union(*(behind[other] for other in pod.after)))
        assert list(pod.nodes) == sorted(pod.nodes, key=order.index)
    for node, upstream in nodes.items():
        for before in upstream:
            here, there = place_of[node], place_of[before]
            assert here == there or there in behind[here]


@settings(max_examples=300)
@given(graphs())
def test_no_level_is_added_and_who_stays_alone_is_joined_by_light_nodes_only(graph) -> None:
    nodes, alone = graph
    pods = share_pods(nodes, alone)
    assert levels(pods) <= levels(share_pods(nodes, alone, share=False))
    for pod in pods:
        heavy = [node for node in pod.nodes if node in alone or not is_light(node)]
        if len(heavy) > 1:
            assert not alone.intersection(heavy)


def nodes_of(graph: dict[str, list[str]], *alone: str) -> list[tuple[str, ...]]:
    return [pod.nodes for pod in share_pods(graph, set(alone))]


def test_what_runs_side_by_side_stays_so_unless_it_ends_early() -> None:
    graph = {"Read": [], "Audit": ["Read"], "Count": ["Read"], "Check": ["Count"]}
    assert nodes_of(graph) == [("Read", "Count", "Check"), ("Audit",)]
    graph["End"] = ["Audit"]  # both ways have two nodes more
    assert nodes_of(graph) == [("Read",), ("Audit", "End"), ("Count", "Check")]
    assert nodes_of(graph, "Check") == [("Read",), ("Audit", "End"), ("Count",), ("Check",)]


def test_a_light_node_goes_to_the_one_that_needs_it_else_to_the_last_before_it() -> None:
    graph = {"A": [], "XResolver": ["A"], "B": ["A", "XResolver"], "YResolver": ["B"], "C": ["B"]}
    assert nodes_of(graph, "A", "B", "C") == [("A",), ("XResolver", "B", "YResolver"), ("C",)]
    graph["C"] = ["B", "XResolver"]
    assert nodes_of(graph, "A", "B", "C") == [("A", "XResolver"), ("B", "YResolver"), ("C",)]
    side_by_side = {"A": [], "B": [], "C": ["A", "B"], "EndResolver": ["A", "B"]}
    assert nodes_of(side_by_side) == [("A",), ("B",), ("C",), ("EndResolver",)]
    assert nodes_of({"SchemaGen": [], "A": [], "B": ["SchemaGen"], "C": ["SchemaGen"]}) == [
        ("SchemaGen", "A"), ("B",), ("C",),
    ]  # fmt: skip


def test_one_pod_for_each_node() -> None:
    pods = share_pods({"A": [], "B": ["A"], "C": ["A", "B"]}, set(), share=False)
    assert [(pod.nodes, pod.after) for pod in pods] == [
        (("A",), ()), (("B",), (0,)), (("C",), (0, 1)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "task"),
    [
        ("BaselineResolver", "baseline-resolver"),
        ("Pusher", "pusher"),
        ("SchemaGen.1", "schema-gen-1"),
    ],
)
def test_task_names(node: str, task: str) -> None:
    assert task_name(node) == task
    assert Pod((node, "Pusher"), ()).task in (f"{task}-to-pusher", task)
