"""The graph of tasks: which come before which, in what generations, along what critical path.

The only module that knows networkx. Edges run from a task to those that wait for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx


@dataclass(frozen=True, slots=True)
class Node:
    """A task as the graph sees it. `depends_on` holds the predecessors as written."""

    id: str
    foundation: bool
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What scheduling needs of an acyclic graph: by task, its generation from 0 and the longest way to a sink."""

    generation: Mapping[str, int]
    priority: Mapping[str, int]


def predecessors(nodes: Sequence[Node]) -> dict[str, tuple[str, ...]]:
    """Give all direct predecessors: those written, and for a feature every foundation beside it."""
    foundations = [node.id for node in nodes if node.foundation]
    return {
        node.id: tuple(dict.fromkeys((*node.depends_on, *(() if node.foundation else foundations))))
        for node in nodes
    }


def find_cycle(after: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Give the tasks of a cycle, each waiting for the next one and the last for the first; () if there is none."""
    try:
        edges = nx.find_cycle(_graph(after).reverse(copy=False))
    except nx.NetworkXNoCycle:
        return ()
    return tuple(edge[0] for edge in edges)


def shape(after: Mapping[str, Sequence[str]]) -> Shape:
    """Measure an acyclic graph.

    Raises:
        networkx.NetworkXUnfeasible: it has a cycle.

    """
    graph = _graph(after)
    generation = {
        name: depth for depth, names in enumerate(nx.topological_generations(graph)) for name in names
    }
    priority: dict[str, int] = {}
    for name in reversed(list(nx.topological_sort(graph))):
        priority[name] = 1 + max((priority[below] for below in graph.successors(name)), default=0)
    return Shape(generation, priority)


def critical_path(after: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Give a longest chain of tasks that wait for each other, first to last."""
    return tuple(nx.dag_longest_path(_graph(after)))


def ancestors(after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Give for each task of an acyclic graph the set of all that come before it, as bits in the order of `after`."""
    bit = {name: 1 << place for place, name in enumerate(after)}
    before: dict[str, int] = {}
    for name in nx.topological_sort(_graph(after)):
        before[name] = 0
        for parent in after[name]:
            before[name] |= before[parent] | bit[parent]
    return before


def _graph(after: Mapping[str, Sequence[str]]) -> "nx.DiGraph[str]":
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(after)
    graph.add_edges_from((parent, name) for name, parents in after.items() for parent in parents)
    return graph
