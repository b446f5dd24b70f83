"""The graph of tasks: which come before which, in what generations, how far from the end.

The only module that knows networkx. Edges run from a task to those that wait for it; a graph is given as the
direct predecessors of each task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

Predecessors = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Order:
    """An acyclic graph, measured; each mapping is by task.

    `generation` counts from 0: a task's is above those of all that it waits for. `priority` is the number of
    tasks on the longest chain from it to an end, itself included: the largest is the length of the critical
    path. `before` is the set of all that come before it, as bits in its own order, which is the graph's.
    """

    generation: Mapping[str, int]
    priority: Mapping[str, int]
    before: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Knot:
    """Tasks that all wait for each other, and a cycle of them: each waits for the next, and so around."""

    tasks: frozenset[str]
    cycle: tuple[str, ...]


def knots(after: Predecessors) -> tuple[Knot, ...]:
    """Give all the knots of a graph (its strongly connected components of more than one task)."""
    components = [tasks for tasks in nx.strongly_connected_components(_graph(after)) if len(tasks) > 1]
    found = []
    for tasks in components:
        # In the order of `after`, so that equal input gives an equal cycle: sets of texts have no order.
        within = {
            name: [parent for parent in after[name] if parent in tasks] for name in after if name in tasks
        }
        edges = nx.find_cycle(_graph(within).reverse())
        found.append(Knot(frozenset(tasks), tuple(edge[0] for edge in edges)))
    return tuple(sorted(found, key=lambda knot: knot.cycle))


def measure(after: Predecessors) -> Order:
    """Measure an acyclic graph.

    Raises:
        networkx.NetworkXUnfeasible: it has a cycle.

    """
    graph = _graph(after)
    generations = list(nx.topological_generations(graph))
    generation = {name: depth for depth, names in enumerate(generations) for name in names}
    bit = {name: 1 << place for place, name in enumerate(after)}
    before: dict[str, int] = {}
    for name in generation:
        before[name] = 0
        for parent in after[name]:
            before[name] |= before[parent] | bit[parent]
    priority: dict[str, int] = {}
    for name in reversed(generation):
        priority[name] = 1 + max((priority[below] for below in graph.successors(name)), default=0)
    return Order(generation, priority, {name: before[name] for name in after})


def _graph(after: Predecessors) -> "nx.DiGraph[str]":
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(after)
    graph.add_edges_from((parent, name) for name, parents in after.items() for parent in parents)
    return graph
