"""The graph of tasks against what brute force and networkx itself say of it."""

from collections.abc import Iterator
from graphlib import CycleError

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.graph import Knot, knots, measure

Graph = dict[str, tuple[str, ...]]


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool) -> Graph:
    names = [f"t{n}" for n in range(draw(st.integers(0, 8)))]
    after: Graph = {}
    for place, name in enumerate(names):
        others = names[:place] if acyclic else [other for other in names if other != name]
        after[name] = tuple(draw(st.sets(st.sampled_from(others)))) if others else ()
    return {name: after[name] for name in draw(st.permutations(names))}


def chains(after: Graph, name: str) -> Iterator[tuple[str, ...]]:
    """Walk every chain from a task to all that wait for it."""
    yield (name,)
    for other, parents in after.items():
        if name in parents:
            for chain in chains(after, other):
                yield (name, *chain)


def ancestors(after: Graph, name: str) -> set[str]:
    return {other for parent in after[name] for other in (parent, *ancestors(after, parent))}


@settings(deadline=None, max_examples=150)
@given(graphs(acyclic=True))
def test_a_generation_is_one_above_the_highest_that_it_waits_for(after: Graph) -> None:
    generation = measure(after).generation
    assert generation == {
        name: 1 + max((generation[parent] for parent in parents), default=-1)
        for name, parents in after.items()
    }


@settings(deadline=None, max_examples=150)
@given(graphs(acyclic=True))
def test_a_priority_is_the_length_of_the_longest_chain_to_an_end(after: Graph) -> None:
    order = measure(after)
    assert order.priority == {name: max(map(len, chains(after, name))) for name in after}
    assert max(order.priority.values(), default=0) == len(
        nx.dag_longest_path(nx.DiGraph((p, name) for name in after for p in after[name])) or list(after)[:1]
    )


@settings(deadline=None, max_examples=150)
@given(graphs(acyclic=True))
def test_the_set_before_a_task_is_all_that_leads_to_it(after: Graph) -> None:
    before = measure(after).before
    names = list(after)
    assert {
        name: {other for place, other in enumerate(names) if bits >> place & 1}
        for name, bits in before.items()
    } == {name: ancestors(after, name) for name in after}


@settings(deadline=None, max_examples=150)
@given(graphs(acyclic=True))
def test_counting_unmet_predecessors_takes_every_task_in_a_valid_order(after: Graph) -> None:
    order = measure(after)
    unmet = {name: len(parents) for name, parents in after.items()}
    taken: list[str] = []
    while ready := [name for name, count in unmet.items() if not count]:
        taken.append(max(ready, key=lambda name: (order.priority[name], name)))
        del unmet[taken[-1]]
        for name in unmet:
            unmet[name] -= taken[-1] in after[name]
    assert sorted(taken) == sorted(after)
    assert all(taken.index(parent) < taken.index(name) for name in after for parent in after[name])


@settings(deadline=None, max_examples=300)
@given(graphs(acyclic=False))
def test_knots_are_found_if_and_only_if_the_graph_is_cyclic(after: Graph) -> None:
    found = knots(after)
    graph = nx.DiGraph((parent, name) for name in after for parent in after[name])
    assert (not found) == nx.is_directed_acyclic_graph(graph)
    tied = [task for knot in found for task in knot.tasks]
    assert len(tied) == len(set(tied))
    assert set(tied) == {name for cycle in nx.simple_cycles(graph) for name in cycle}
    for knot in found:
        assert len(set(knot.cycle)) == len(knot.cycle) > 1
        assert knot.tasks.issuperset(knot.cycle)
        for name, following in zip(knot.cycle, (*knot.cycle[1:], knot.cycle[0]), strict=True):
            assert following in after[name], "each waits for the next"


def test_what_only_hangs_on_a_knot_is_not_part_of_it() -> None:
    after = {"a": (), "b": ("a", "d"), "c": ("b",), "d": ("c",), "e": ("d",)}
    assert knots(after) == (Knot(frozenset("bcd"), ("b", "d", "c")),)


def test_a_cyclic_graph_cannot_be_measured() -> None:
    with pytest.raises(CycleError):
        measure({"a": ("b",), "b": ("a",)})
