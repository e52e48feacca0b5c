from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.traces.tree import Forest, build, self_times


@dataclass
class Node:
    trace: int
    span: int
    parent: int
    start: int
    end: int
    children: list["Node"] = field(default_factory=list)


@st.composite
def forests(draw: st.DrawFn) -> list[Node]:
    """Nodes of a few traces, sorted as `build` wants them; ids are few, so that loops and orphans are common."""
    nodes = []
    for trace in range(draw(st.integers(1, 3))):
        spans = draw(st.lists(st.integers(1, 12), unique=True, max_size=10))
        for span in spans:
            start = draw(st.integers(0, 20))
            nodes.append(Node(2 * trace, span, draw(st.integers(0, 12)), start, start + draw(st.integers(0, 20))))
    return sorted(nodes, key=lambda node: (node.trace, node.start, node.span))


def oracle(nodes: list[Node]) -> tuple[list[dict], set[int]]:
    """What the forest should be, by walking: a row per node in depth-first order; and the rows on loops."""
    known = {(node.trace, node.span): row for row, node in enumerate(nodes)}
    above = [known.get((node.trace, node.parent), -1) if node.parent else -1 for node in nodes]
    loops = set()
    for row in range(len(nodes)):
        chain, at = [], row
        while at >= 0 and at not in chain:
            chain.append(at)
            at = above[at]
        if at >= 0:
            loop = chain[chain.index(at) :]
            loops |= set(loop)
    for row in sorted(loops):
        at, members = above[row], [row]
        while at >= 0 and at != row and len(members) <= len(nodes):
            members.append(at)
            at = above[at]
        if at == row and min(members) == row:
            above[row] = -1
    below = [[child for child in range(len(nodes)) if above[child] == row] for row in range(len(nodes))]
    shown: list[dict] = []

    def walk(row: int, depth: int) -> int:
        entry = {"row": row, "parent": above[row], "depth": depth}
        shown.append(entry)
        entry["size"] = 1 + sum(walk(child, depth + 1) for child in below[row])
        node = nodes[row]
        busy = {t for child in below[row] for t in range(nodes[child].start, nodes[child].end)}
        entry["self"] = len(set(range(node.start, node.end)) - busy)
        return entry["size"]

    for row, parent in enumerate(above):
        if parent < 0:
            walk(row, 0)
    return shown, loops


def forest_of(nodes: list[Node]) -> Forest:
    trace = np.array([node.trace for node in nodes], np.int64)
    span = np.array([node.span for node in nodes], np.uint64)
    return build(trace, span, np.array([node.parent for node in nodes], np.uint64))


@settings(max_examples=300, deadline=None)
@given(forests())
def test_a_forest_equals_the_one_found_by_walking(nodes: list[Node]) -> None:
    forest = forest_of(nodes)
    expected, loops = oracle(nodes)
    order = forest.order().tolist()
    assert order == [entry["row"] for entry in expected]
    assert forest.parent[order].tolist() == [entry["parent"] for entry in expected]
    assert forest.depth[order].tolist() == [entry["depth"] for entry in expected]
    assert forest.size[order].tolist() == [entry["size"] for entry in expected]
    assert np.flatnonzero(forest.loop).tolist() == sorted(loops)
    ids = {(node.trace, node.span) for node in nodes}
    orphans = [node.parent != 0 and (node.trace, node.parent) not in ids for node in nodes]
    assert forest.orphan.tolist() == orphans
    times = self_times(forest, *(np.array([getattr(n, name) for n in nodes], np.int64) for name in ("start", "end")))
    assert times[order].tolist() == [entry["self"] for entry in expected]


@given(forests(), st.randoms(use_true_random=False))
def test_subtree_sums_add_the_values_of_all_below(nodes: list[Node], random) -> None:
    forest = forest_of(nodes)
    values = np.array([random.randint(-5, 5) for _ in nodes], np.int64)
    order = forest.order()
    for row in range(len(nodes)):
        place = forest.position[row]
        assert forest.totals(values)[row] == values[order[place : place + forest.size[row]]].sum()


def test_a_span_that_is_its_own_parent_is_a_loop_of_one() -> None:
    forest = forest_of([Node(0, 1, 1, 0, 1), Node(0, 2, 1, 0, 1)])
    assert forest.loop.tolist() == [True, False]
    assert forest.parent.tolist() == [-1, 0]


def test_a_chain_of_100_000_spans_has_that_depth() -> None:
    ids = np.arange(1, 100_001, dtype=np.uint64)
    forest = build(np.zeros(100_000, np.int64), ids, ids - np.uint64(1))
    assert forest.depth.tolist() == list(range(100_000))
    assert forest.totals(np.ones(100_000, np.int64))[0] == 100_000


def test_a_loop_of_100_000_spans_is_cut_at_its_first() -> None:
    ids = np.arange(1, 100_001, dtype=np.uint64)
    forest = build(np.zeros(100_000, np.int64), ids, np.roll(ids, 1))
    assert forest.loop.all()
    assert forest.depth.max() == 99_999
    assert np.flatnonzero(forest.parent < 0).tolist() == [0]


def test_a_star_of_100_000_spans_has_its_time_covered_by_its_children() -> None:
    ids = np.arange(1, 100_001, dtype=np.uint64)
    forest = build(np.zeros(100_000, np.int64), ids, np.where(ids == 1, 0, 1).astype(np.uint64))
    start = np.arange(100_000)
    end = np.where(ids == 1, 200_000, start + 2)
    assert self_times(forest, start, end)[0] == 200_000 - 100_000
    assert forest.size[0] == 100_000
