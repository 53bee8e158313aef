"""The street plan of a town: a not quite regular grid of bent streets, and the routes that are driven through it.

Map frame: x east, y north [m]. The main loop lies in the western columns of the grid; the streets of the eastern
columns are never seen from it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

from vpr_core.synthetic.lines import along

COLUMNS, ROWS = 8, 5
LOOP_COLUMNS = 5
ROAD_HALF_WIDTH_M = 5.2
LANE_OFFSET_M = 1.6
"""Distance of each of the two lanes from the middle of the road."""

Node = tuple[int, int]


class StreetKind(enum.IntEnum):
    """What stands along a street."""

    TERRACES = 0
    VILLAS = 1
    CENTRE = 2


@dataclass(frozen=True)
class Street:
    """The middle line from one crossing to the next, as points [P, 2] about 1 m apart."""

    start: Node
    end: Node
    points_m: np.ndarray
    kind: StreetKind

    @cached_property
    def along_m(self) -> np.ndarray:
        """Distance of every point from the start, [P]."""
        return along(self.points_m)

    @property
    def length_m(self) -> float:
        return float(self.along_m[-1])

    def at(self, distance_m: float) -> tuple[np.ndarray, np.ndarray]:
        """Position [2] and unit direction [2] at a distance from the start."""
        index = int(np.clip(np.searchsorted(self.along_m, distance_m), 1, len(self.points_m) - 1))
        before, after = self.points_m[index - 1], self.points_m[index]
        step_m = self.along_m[index] - self.along_m[index - 1]
        share = (distance_m - self.along_m[index - 1]) / step_m
        return before + share * (after - before), (after - before) / step_m


@dataclass(frozen=True)
class Grid:
    """How the streets of a style of town lie."""

    spacing_m: tuple[float, float] = (64.0, 86.0)
    """Least and largest distance from one crossing to the next."""
    gap_m: float = 92.0
    """Width of the block that parts the loop from the streets that it must not see."""
    scatter_m: float = 3.5
    sway_m: float = 0.0
    """How far the rows of crossings swing to both sides, which makes avenues that curve through the whole town."""
    bend_m: float = 5.0
    missing: float = 1 / 6
    """Share of the streets off the loop that the grid lacks."""
    kinds: tuple[float, float, float] = (0.42, 0.33, 0.25)
    """Share of each StreetKind."""


class StreetPlan:
    """Crossings, streets and the main loop of one town."""

    def __init__(self, rng: np.random.Generator, grid: Grid | None = None) -> None:
        self.grid = grid or Grid()
        self.crossings_m = _crossings(rng, self.grid)
        self.loop = _loop(rng)
        self.graph = _graph(rng, self.loop, self.grid.missing)
        self.streets: list[Street] = []
        for start, end in self.graph.edges:
            street = Street(start, end, self._bent_line(rng, start, end), _kind(rng, self.grid))
            self.graph.edges[start, end].update(index=len(self.streets), length_m=street.length_m)
            self.streets.append(street)

    def _bent_line(self, rng: np.random.Generator, start: Node, end: Node) -> np.ndarray:
        a, b = self.crossings_m[start], self.crossings_m[end]
        across = np.array([a[1] - b[1], b[0] - a[0]]) / np.linalg.norm(b - a)
        control = (a + b) / 2 + across * (np.clip(rng.normal(0, 1), -1.8, 1.8) * self.grid.bend_m)
        t = np.linspace(0, 1, round(float(np.linalg.norm(b - a))) + 1)[:, None]
        return (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * b

    def line(self, nodes: list[Node]) -> np.ndarray:
        """Middle line [P, 2] through these crossings, each the neighbour of the one before."""
        pieces: list[np.ndarray] = []
        for start, end in zip(nodes, nodes[1:], strict=False):
            street = self.streets[self.graph.edges[start, end]["index"]]
            points = street.points_m if street.start == start else street.points_m[::-1]
            pieces.append(points if not pieces else points[1:])
        return np.concatenate(pieces)

    @cached_property
    def loop_line(self) -> np.ndarray:
        return self.line(self.loop)

    def distance_to_loop_m(self, points_m: np.ndarray) -> np.ndarray:
        """Distance of points [P, 2] from the middle line of the loop, [P]."""
        return np.array([np.hypot(*(self.loop_line - point).T).min() for point in points_m])


def _crossings(rng: np.random.Generator, grid: Grid) -> dict[Node, np.ndarray]:
    columns_m = np.concatenate([[0.0], np.cumsum(rng.uniform(*grid.spacing_m, COLUMNS - 1))])
    columns_m[LOOP_COLUMNS:] += grid.gap_m - (columns_m[LOOP_COLUMNS] - columns_m[LOOP_COLUMNS - 1])
    rows_m = np.concatenate([[0.0], np.cumsum(rng.uniform(*grid.spacing_m, ROWS - 1))])
    sway_m = grid.sway_m * np.sin(columns_m / columns_m[-1] * 2 * np.pi)
    return {
        (column, row): np.array([columns_m[column], rows_m[row] + sway_m[column]])
        + np.clip(rng.normal(0, 1, 2), -2, 2) * grid.scatter_m
        for column in range(COLUMNS)
        for row in range(ROWS)
    }


def _loop(rng: np.random.Generator) -> list[Node]:
    """Closed cycle of crossings: the outline of the western blocks with some corner blocks cut off, which changes its
    turns and keeps its number of streets."""
    blocks = {(column, row) for column in range(LOOP_COLUMNS - 1) for row in range(ROWS - 1)}
    for _ in range(int(rng.integers(4, 7))):
        corners = sorted(block for block in blocks if _is_corner(block, blocks))
        blocks.remove(corners[int(rng.integers(len(corners)))])
    follow = {start: end for column, row in blocks for start, end in _outline(column, row, blocks)}
    first = sorted(follow)[int(rng.integers(len(follow)))]
    nodes = [first, follow[first]]
    while nodes[-1] != first:
        nodes.append(follow[nodes[-1]])
    return nodes if rng.random() < 0.5 else nodes[::-1]


def _is_corner(block: Node, blocks: set[Node]) -> bool:
    """Whether the outline without this block has the same length and does not touch itself."""
    column, row = block
    sides = [((column + 1, row), (column - 1, row)), ((column, row + 1), (column, row - 1))]
    if any((a in blocks) == (b in blocks) for a, b in sides):
        return False
    inward_x = 1 if (column + 1, row) in blocks else -1
    inward_y = 1 if (column, row + 1) in blocks else -1
    return (column + inward_x, row + inward_y) in blocks


def _outline(column: int, row: int, blocks: set[Node]) -> list[tuple[Node, Node]]:
    """The block's sides that no other block shares, counter-clockwise."""
    ring = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1), (column, row)]
    beyond = [(column, row - 1), (column + 1, row), (column, row + 1), (column - 1, row)]
    return [(ring[i], ring[i + 1]) for i in range(4) if beyond[i] not in blocks]


def _graph(rng: np.random.Generator, loop: list[Node], missing: float) -> nx.Graph:
    """The grid with some streets taken out that the loop does not need."""
    graph = nx.grid_2d_graph(COLUMNS, ROWS)
    driven = {frozenset(pair) for pair in zip(loop, loop[1:], strict=False)}
    spare = sorted(edge for edge in graph.edges if frozenset(edge) not in driven)
    for start, end in (spare[int(i)] for i in rng.permutation(len(spare))[: int(len(spare) * missing + 1e-9)]):
        if min(graph.degree[start], graph.degree[end]) > 2:
            graph.remove_edge(start, end)
    return graph


def _kind(rng: np.random.Generator, grid: Grid) -> StreetKind:
    return StreetKind(int(rng.choice(3, p=grid.kinds)))
