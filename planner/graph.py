"""The graph of tasks: which come before which, in what generations, how far from the end.

Edges run from a task to those that wait for it; a graph is given as the direct predecessors of each task. The
only module that knows networkx, and it loads it only for a graph with a cycle: a build of a sound plan does
without its 25 MB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

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
    try:
        TopologicalSorter(after).prepare()
    except CycleError:
        return _untangled(after)
    return ()


def _untangled(after: Predecessors) -> tuple[Knot, ...]:
    import networkx as nx  # noqa: PLC0415 -- see above

    def graph(of: Predecessors) -> "nx.DiGraph[str]":
        edges = ((parent, name) for name, parents in of.items() for parent in parents)
        made: nx.DiGraph[str] = nx.DiGraph()
        made.add_nodes_from(of)
        made.add_edges_from(edges)
        return made

    components = [tasks for tasks in nx.strongly_connected_components(graph(after)) if len(tasks) > 1]
    found = []
    for tasks in components:
        # In the order of `after`, so that equal input gives an equal cycle: sets of texts have no order.
        within = {
            name: [parent for parent in after[name] if parent in tasks] for name in after if name in tasks
        }
        edges = nx.find_cycle(graph(within).reverse())
        found.append(Knot(frozenset(tasks), tuple(edge[0] for edge in edges)))
    return tuple(sorted(found, key=lambda knot: knot.cycle))


def measure(after: Predecessors) -> Order:
    """Measure an acyclic graph.

    Raises:
        graphlib.CycleError: it has a cycle.

    """
    in_order = tuple(TopologicalSorter(after).static_order())
    generation: dict[str, int] = {}
    for name in in_order:
        generation[name] = 1 + max((generation[parent] for parent in after[name]), default=-1)
    bit = {name: 1 << place for place, name in enumerate(after)}
    before: dict[str, int] = {}
    for name in in_order:
        before[name] = 0
        for parent in after[name]:
            before[name] |= before[parent] | bit[parent]
    priority = dict.fromkeys(in_order, 1)
    for name in reversed(in_order):
        for parent in after[name]:
            priority[parent] = max(priority[parent], priority[name] + 1)
    return Order(generation, priority, {name: before[name] for name in after})
