"""Which streets a drive takes: the main loop, the lane beside it, streets off the map, a mix of both, the loop back,
one block twice."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx
import numpy as np

from vpr_core.errors import VprError
from vpr_core.synthetic.lines import along, beside
from vpr_core.synthetic.streets import LANE_OFFSET_M, Node, StreetPlan

ROUTES = ("loop", "lane", "offmap", "mixed", "opposite", "block")
OFF_MAP_M = 60.0
"""Streets off the map keep at least this distance from every driven line of the loop."""
_MIXED_SHARE = 0.37
_TURN_CUT_M = 9.0


def route_line(plan: StreetPlan, route: str) -> np.ndarray:
    """The line [P, 2] in the map frame, points about 1 m apart, that a vehicle without wander would take.

    It keeps to the right lane (the left one for "lane") and rounds the corners; "opposite" is the loop driven the
    other way round, "block" goes twice round the smallest block beside it and so closes a loop. Raises
    VprError on an unknown route.
    """
    nodes = _nodes(plan, checked_route(route))
    offset_m = LANE_OFFSET_M if route == "lane" else -LANE_OFFSET_M
    return _beside(_rounded(plan, nodes), offset_m)


def line_through(plan: StreetPlan, nodes: list[Node]) -> np.ndarray:
    """The right lane [P, 2] through crossings, each the neighbour of the one before, with rounded corners."""
    return _beside(_rounded(plan, nodes), -LANE_OFFSET_M)


def checked_route(route: str) -> str:
    """The same name; raises VprError where it is not one of ROUTES."""
    if route not in ROUTES:
        raise VprError(f"unknown route {route!r}; the routes of a town are {', '.join(ROUTES)}")
    return route


def _nodes(plan: StreetPlan, route: str) -> list[Node]:
    if route == "offmap":
        return _off_map_nodes(plan)
    if route == "mixed":
        return _mixed_nodes(plan)
    if route == "block":
        return _block_nodes(plan)
    return plan.loop[::-1] if route == "opposite" else plan.loop


def _block_nodes(plan: StreetPlan) -> list[Node]:
    """Twice round the block with the shortest way round it, of those beside the loop."""

    def around(start: Node, end: Node) -> tuple[float, list[Node]]:
        others = plan.graph.edge_subgraph(edge for edge in plan.graph.edges if set(edge) != {start, end})
        length_m, nodes = nx.single_source_dijkstra(others, end, start, weight="length_m")
        return length_m + plan.graph.edges[start, end]["length_m"], nodes

    cycle = min(around(*edge) for edge in zip(plan.loop, plan.loop[1:], strict=False))[1]
    return [*cycle, *cycle, cycle[0]]


def _off_map_streets(plan: StreetPlan) -> nx.Graph:
    margin_m = OFF_MAP_M + 2 * LANE_OFFSET_M + 1.0
    far = [
        (street.start, street.end)
        for street in plan.streets
        if plan.distance_to_loop_m(street.points_m).min() > margin_m
    ]
    return plan.graph.edge_subgraph(far)


def _off_map_nodes(plan: StreetPlan) -> list[Node]:
    """The longest of many random walks that take no street twice."""
    streets = _off_map_streets(plan)
    rng = np.random.default_rng(0)
    walks = (_walk(streets, start, rng) for start in sorted(streets.nodes) for _ in range(12))
    return max(walks, key=len)


def _walk(streets: nx.Graph, start: Node, rng: np.random.Generator) -> list[Node]:
    nodes, taken = [start], set[frozenset[Node]]()
    while free := [node for node in sorted(streets[nodes[-1]]) if frozenset((nodes[-1], node)) not in taken]:
        following = free[int(rng.integers(len(free)))]
        taken.add(frozenset((nodes[-1], following)))
        nodes.append(following)
    return nodes


def _mixed_nodes(plan: StreetPlan) -> list[Node]:
    """From streets off the map onto the loop, once off it and back, with the wanted share off the map."""

    def misfit(nodes: list[Node]) -> float:
        length_m = sum(plan.graph.edges[pair]["length_m"] for pair in zip(nodes, nodes[1:], strict=False))
        return abs(_off_loop_share(plan, nodes) - _MIXED_SHARE) + abs(length_m - 1000.0) / 2000.0

    return min(_mixed_candidates(plan), key=misfit)


def _mixed_candidates(plan: StreetPlan) -> Iterator[list[Node]]:
    cycle = plan.loop[:-1]
    beside = plan.graph.copy()
    beside.remove_edges_from(zip(plan.loop, plan.loop[1:], strict=False))
    outside = beside.copy()
    outside.remove_nodes_from(cycle)
    for join, node in enumerate(cycle):
        ahead = cycle[join:] + cycle[:join]
        for gate in sorted(set(beside[node]) - set(cycle)):
            lengths_m, paths = nx.single_source_dijkstra(outside, gate, cutoff=280.0, weight="length_m")
            for start in sorted(end for end, length_m in lengths_m.items() if length_m > 120.0):
                yield from _with_detours(beside, paths[start][::-1], ahead)


def _with_detours(beside: nx.Graph, approach: list[Node], ahead: list[Node]) -> Iterator[list[Node]]:
    """The approach, then the loop with one stretch replaced by streets that are not on it."""
    for leave in range(3, len(ahead) - 4):
        detours = nx.single_source_dijkstra_path(beside, ahead[leave], cutoff=260.0, weight="length_m")
        for back in range(leave + 1, len(ahead) - 2):
            detour = detours.get(ahead[back])
            inner = set(detour[1:-1]) if detour else set()
            if detour and not inner & (set(ahead) | set(approach)):
                yield approach + ahead[: leave + 1] + detour[1:] + ahead[back + 1 :]


def _off_loop_share(plan: StreetPlan, nodes: list[Node]) -> float:
    driven = {frozenset(pair) for pair in zip(plan.loop, plan.loop[1:], strict=False)}
    lengths_m = {frozenset(pair): plan.graph.edges[pair]["length_m"] for pair in zip(nodes, nodes[1:], strict=False)}
    off_m = sum(length_m for pair, length_m in lengths_m.items() if pair not in driven)
    return float(off_m / sum(lengths_m.values()))


def _rounded(plan: StreetPlan, nodes: list[Node]) -> np.ndarray:
    """Middle line through the crossings with every corner replaced by a curve, points about 1 m apart."""
    line = plan.line(nodes)
    inner = {tuple(plan.crossings_m[node]) for node in nodes[1:-1]}
    along_m = along(line)
    corners_m = [along_m[i] for i in range(1, len(line) - 1) if tuple(line[i]) in inner]
    pieces, begin_m = [], 0.0
    for corner_m in corners_m:
        cut_m = (corner_m - _TURN_CUT_M, corner_m, corner_m + _TURN_CUT_M)
        pieces.append(_at(line, along_m, np.arange(begin_m, cut_m[0], 1.0)))
        a, control, b = _at(line, along_m, np.array(cut_m))
        t = np.linspace(0, 1, 14, endpoint=False)[:, None]
        pieces.append((1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * b)
        begin_m = cut_m[2]
    pieces.append(_at(line, along_m, np.arange(begin_m, along_m[-1], 1.0)))
    return np.concatenate(pieces)


def _beside(line: np.ndarray, offset_m: float) -> np.ndarray:
    """The line moved to its left by offset_m and resampled at 1 m."""
    moved = beside(line, offset_m)
    along_m = along(moved)
    return _at(moved, along_m, np.arange(0.0, along_m[-1], 1.0))


def _at(line: np.ndarray, along_m: np.ndarray, wanted_m: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(wanted_m, along_m, line[:, axis]) for axis in (0, 1)], axis=1)
