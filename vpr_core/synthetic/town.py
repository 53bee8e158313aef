"""A town from a seed: streets, houses, trees, lamps and signs that stay, and parked cars that change by drive."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from vpr_core.synthetic import building, houses, landmarks, props
from vpr_core.synthetic.facades import Facade, FacadeTable
from vpr_core.synthetic.ground import MARGIN_M, PAVEMENT_M, Ground
from vpr_core.synthetic.routes import route_line
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.streets import ROAD_HALF_WIDTH_M, Node, Street, StreetKind, StreetPlan
from vpr_core.synthetic.styles import style_named
from vpr_core.synthetic.surface import Label, Material, Placement, Surface, SurfaceBuilder
from vpr_core.synthetic.traffic import drawn_traffic
from vpr_core.synthetic.trajectory import Trajectory
from vpr_core.synthetic.trees import Forest, TreeShape

_FRONT_M = ROAD_HALF_WIDTH_M + PAVEMENT_M + 0.4
_HORIZON_M = 3000.0
_CAR_SLOT_M = 6.2


class Town:
    """Everything in a town that no drive changes.

    `plan` holds the streets, `surface` the triangles with one attribute row each (`surface.mesh` is a trimesh.Trimesh),
    `facades` one row per wall, `ground` the layout of the flat ground at z = 0, `squares_m` the middle [2] of every
    square and `church_m` that of the church, if there is one. Map frame, metres, z up.
    """

    def __init__(self, seed: int, style: str = "old_town") -> None:
        """style: one of STYLES; raises VprError on another."""
        self.seed, self.style = seed, style_named(style)
        self.plan = StreetPlan(np.random.default_rng([seed, 0]), self.style.grid)
        self.ground = Ground(self.plan)
        self._builder = SurfaceBuilder()
        self._facades: list[Facade] = []
        self._object_count = 0
        self._lay_ground()
        self._forest = Forest.grow(np.random.default_rng([seed, 6]))
        self._designs = houses.designs(np.random.default_rng([seed, 1]), self.style.builds)
        self.squares_m: list[np.ndarray] = []
        self.church_m: np.ndarray | None = None
        self._lay_squares(np.random.default_rng([seed, 8]))
        if self.style.church:
            self._add_church(np.random.default_rng([seed, 9]))
        for index, street in enumerate(self.plan.streets):
            self._line_street(np.random.default_rng([seed, 2, index]), street)
        self._plant_yards(np.random.default_rng([seed, 3]))
        self.surface: Surface = self._builder.build()
        self.facades = FacadeTable(self._facades)

    def route(self, name: str) -> np.ndarray:
        """The line [P, 2] of a route, points about 1 m apart; raises VprError on an unknown route."""
        return route_line(self.plan, name)

    def scene(self, drive_seed: int, ego: Trajectory | None = None) -> Scene:
        """The town with the cars that are parked there on one drive.

        ego: the way of the vehicle that looks; what moves keeps clear of it. `Scene.at` puts what moves into place.
        """
        builder, outlines_m = SurfaceBuilder(), []
        rng = np.random.default_rng([self.seed, 4, drive_seed])
        with builder.labelled(Label.CAR):
            for at in self._parking(rng):
                outlines_m.append(at.to_map(props.add_car(builder, rng, at)))
        traffic = drawn_traffic(self.plan, np.random.default_rng([self.seed, 7, drive_seed]), ego)
        surfaces = [self.surface, builder.build()] if outlines_m else [self.surface]
        return Scene(surfaces, self.facades, self.ground, outlines_m, drive_seed, traffic)

    def _parking(self, rng: np.random.Generator) -> Iterator[Placement]:
        """Where cars are parked on one drive: along the kerbs, away from crossings, some streets full, some not."""
        for street in self.plan.streets:
            for side in (-1, 1):
                share = rng.uniform(*self.style.parked)
                for slot_m in np.arange(14.0, street.length_m - 14.0, _CAR_SLOT_M):
                    if rng.random() < share:
                        yield _parked(rng, street, float(slot_m), side)

    @cached_property
    def sun_azimuth_rad(self) -> float:
        """Where the sun stands at noon, counter-clockwise from the map's x axis."""
        return float(np.random.default_rng([self.seed, 5]).uniform(0, 2 * math.pi))

    def _lay_ground(self) -> None:
        low, high = self._bounds_m
        corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
        plane = [(x, y, 0.0) for x, y in corners]
        with self._builder.labelled(Label.ROAD):
            self._builder.polygon(Placement(0.0, 0.0), plane, Material.GROUND, (0.25, 0.25, 0.25))

    @cached_property
    def _bounds_m(self) -> tuple[np.ndarray, np.ndarray]:
        crossings = np.array(list(self.plan.crossings_m.values()))
        return crossings.min(axis=0) - _HORIZON_M, crossings.max(axis=0) + _HORIZON_M

    def _line_street(self, rng: np.random.Generator, street: Street) -> None:
        for side in (-1, 1):
            self._add_lamps(street, side)
            self._add_signs(rng, street, side)
            self._add_traffic_light(street, side)
            self._add_street_trees(rng, street, side)
            self._add_houses(rng, street, side)

    def _add_lamps(self, street: Street, side: int) -> None:
        left_m, right_m = self.style.lamp_starts_m
        for along_m in np.arange(left_m if side > 0 else right_m, street.length_m - 10.0, self.style.lamp_pitch_m):
            self._add_lamp(_beside(street, float(along_m), side, ROAD_HALF_WIDTH_M + 0.4, facing_road=True))

    def _add_lamp(self, at: Placement) -> None:
        x, y = at.to_map(props.add_lamp(self._builder, at, self.style.lamp)[None])[0]
        self.ground.add_lamp(float(x), float(y))

    def _add_signs(self, rng: np.random.Generator, street: Street, side: int) -> None:
        for along_m in (10.5, street.length_m - 10.5):
            if rng.random() < self.style.signs:
                at = _beside(street, along_m, side, ROAD_HALF_WIDTH_M + 0.35)
                # Signs face the traffic of their side of the road.
                yaw_rad = at.yaw_rad if side < 0 else at.yaw_rad + math.pi
                props.add_sign(self._builder, rng, Placement(at.x_m, at.y_m, yaw_rad))

    def _add_traffic_light(self, street: Street, side: int) -> None:
        """Where a street of the centre ends at a crossing, beside the stop line of those who drive up to it."""
        if street.kind != StreetKind.CENTRE or not self.style.traffic_lights:
            return
        along_m = street.length_m - 11.8 if side < 0 else 11.8
        at = _beside(street, along_m, side, ROAD_HALF_WIDTH_M + 0.3)
        yaw_rad = at.yaw_rad if side < 0 else at.yaw_rad + math.pi
        props.add_traffic_light(self._builder, Placement(at.x_m, at.y_m, yaw_rad), 2 * (sum(street.start) % 2))

    def _add_street_trees(self, rng: np.random.Generator, street: Street, side: int) -> None:
        if rng.random() >= self.style.tree_lined:
            return
        shape = self.style.street_trees[int(rng.integers(len(self.style.street_trees)))]
        for along_m in np.arange(rng.uniform(14, 20), street.length_m - 14.0, rng.uniform(9, 15)):
            at = _beside(street, float(along_m + rng.normal(0, 0.6)), side, ROAD_HALF_WIDTH_M + 0.9)
            if rng.random() < 0.85:
                self._add_tree(rng, at, shape)

    def _add_tree(self, rng: np.random.Generator, at: Placement, shape: TreeShape, *, far: bool = False) -> None:
        self._object_count += 1
        with self._builder.labelled(Label.VEGETATION):
            self._forest.plant(self._builder, rng, at, shape, owner=self._object_count, far=far)

    def _add_houses(self, rng: np.random.Generator, street: Street, side: int) -> None:
        design = self._designs[street.kind][int(rng.integers(3))]
        build, along_m = design.build, self.style.corner_m
        setback_m = build.setback_m + (rng.uniform(0, 1.0) if build.varied_setback else 0.0)
        # Houses that touch claim no cell of the ground twice, and so repeat without a gap.
        join_m = 0.6 if self.style.repeated else 0.0
        while along_m < street.length_m - self.style.corner_m:
            house = self._only_house or houses.draw_house(rng, design)
            back_m = setback_m + (rng.uniform(-1.0, 1.5) if house.detached else 0.0)
            at = _plot(street, along_m, side, house.width_m, _FRONT_M + back_m)
            if not self.ground.claim(at, (join_m, 0.0), (house.width_m - join_m, house.depth_m), wall=True):
                along_m += 1.0
                continue
            building.add_house(self._builder, self._facades, house, at)
            along_m += house.width_m
            if house.detached:
                self._add_garden(rng, at, house, back_m)
                along_m += rng.uniform(2.5, 7.0)
            elif rng.random() < self.style.gaps:
                along_m += rng.uniform(4, 12)

    @cached_property
    def _only_house(self) -> houses.House | None:
        """The house that is repeated, where the style repeats one."""
        rng = np.random.default_rng([self.seed, 10])
        return houses.draw_house(rng, self._designs[StreetKind.TERRACES][0]) if self.style.repeated else None

    def _add_garden(self, rng: np.random.Generator, at: Placement, house: houses.House, depth_m: float) -> None:
        """A hedge with a gate in it, and now and then a tree."""
        if rng.random() < 0.75:
            half_m = house.width_m / 2
            for begin_m in (-1.5, half_m + 0.7):
                x, y = at.to_map(np.array([(begin_m, -depth_m - 0.1)]))[0]
                props.add_hedge(self._builder, rng, Placement(float(x), float(y), at.yaw_rad), half_m)
        if rng.random() < 0.45:
            x, y = at.to_map(np.array([(rng.uniform(-1.5, house.width_m), -depth_m * 0.5)]))[0]
            self._add_tree(rng, Placement(float(x), float(y)), TreeShape(int(rng.integers(3))))

    def _lay_squares(self, rng: np.random.Generator) -> None:
        """Open places instead of blocks: the first beside the loop, the others anywhere."""
        blocks = [block for block in sorted(self.plan.crossings_m) if self._has_streets(block)]
        on_loop = [block for block in blocks if len(set(_ring(block)) & set(self.plan.loop)) > 2]
        names, choices = rng.permutation(self.style.squares), on_loop
        for index in range(self.style.square_count):
            block = choices[int(rng.integers(len(choices)))]
            self._add_square(rng, block, str(names[index]))
            blocks = [other for other in blocks if not set(_ring(other)) & set(_ring(block))]
            choices = blocks

    def _has_streets(self, block: Node) -> bool:
        """Whether there is a street along each of its four sides."""
        ring = _ring(block)
        return all(self.plan.graph.has_edge(ring[i - 1], ring[i]) for i in range(4))

    def _add_square(self, rng: np.random.Generator, block: Node, name: str) -> None:
        corners_m = np.array([self.plan.crossings_m[node] for node in _ring(block)])
        middle_m = corners_m.mean(axis=0)
        self.squares_m.append(middle_m)
        self.ground.pave(corners_m)
        along = corners_m[1] - corners_m[0]
        at = Placement(float(middle_m[0]), float(middle_m[1]), math.atan2(along[1], along[0]))
        landmarks.add_centrepiece(self._builder, rng, at, name)
        half_m = np.abs(corners_m - middle_m).min(axis=0) - _FRONT_M - 3.0
        self._furnish(rng, at, half_m)

    def _furnish(self, rng: np.random.Generator, at: Placement, half_m: np.ndarray) -> None:
        """Benches, lamps and trees around the middle of a square."""
        for angle in np.arange(12) * math.pi / 6 + math.pi / 12:
            bench = _moved(at, 17.0 * math.cos(angle), 17.0 * math.sin(angle))
            yaw_rad = at.yaw_rad + float(angle) + math.pi / 2
            landmarks.add_bench(self._builder, Placement(bench.x_m, bench.y_m, yaw_rad))
        shape = self.style.street_trees[int(rng.integers(len(self.style.street_trees)))]
        for share in np.linspace(-1, 1, 6):
            for side in (-1, 1):
                self._add_tree(rng, _moved(at, share * half_m[0], side * half_m[1]), shape)
                self._add_tree(rng, _moved(at, side * half_m[0], share * 0.65 * half_m[1]), shape)
        for x_m in (-0.55 * half_m[0], 0.55 * half_m[0]):
            for y_m in (-0.75 * half_m[1], 0.75 * half_m[1]):
                self._add_lamp(_moved(at, float(x_m), float(y_m)))

    def _add_church(self, rng: np.random.Generator) -> None:
        index = int(rng.integers(len(self.plan.loop) - 1))
        start, end = self.plan.loop[index : index + 2]
        street = self.plan.streets[self.plan.graph.edges[start, end]["index"]]
        at = _plot(street, self.style.corner_m + 12.0, 1, landmarks.CHURCH_M[0], _FRONT_M + 1.0)
        self.ground.claim(at, (0.0, 0.0), landmarks.CHURCH_M, wall=True)
        landmarks.add_church(self._builder, at)
        self.church_m = at.to_map(np.array([landmarks.CHURCH_M]) / 2)[0]

    def _plant_yards(self, rng: np.random.Generator) -> None:
        """Trees behind the houses and around the town, where nothing stands."""
        low, high = self._bounds_m
        inset = _HORIZON_M - MARGIN_M + 6.0
        for spot in rng.uniform(low + inset, high - inset, (self.style.yard_trees, 2)):
            at = Placement(float(spot[0]), float(spot[1]))
            if self.ground.beyond_kerb_m(spot[None])[0] > 6.0 and self.ground.claim(at, (-2, -2), (2, 2), wall=False):
                self._add_tree(rng, at, TreeShape(int(rng.integers(3))), far=True)


def _ring(block: Node) -> list[Node]:
    """The crossings around a block, which is named by the first of them."""
    column, row = block
    return [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]


def _moved(at: Placement, x_m: float, y_m: float) -> Placement:
    """The placement of a piece whose place is given in the frame of another."""
    x, y = at.to_map(np.array([(x_m, y_m)]))[0]
    return Placement(float(x), float(y), at.yaw_rad)


def _beside(street: Street, along_m: float, side: int, across_m: float, *, facing_road: bool = False) -> Placement:
    """A place on the left (side 1) or right (side -1) of the street, x along the street or towards the road."""
    position, direction = street.at(along_m)
    left = np.array([-direction[1], direction[0]])
    x, y = position + left * side * across_m
    facing = -side * left if facing_road else direction
    return Placement(float(x), float(y), math.atan2(facing[1], facing[0]))


def _plot(street: Street, along_m: float, side: int, width_m: float, across_m: float) -> Placement:
    """Where a house stands whose front reaches from along_m to along_m + width_m; its y points away from the road."""
    ends = [street.at(min(distance_m, street.length_m))[0] for distance_m in (along_m, along_m + width_m)]
    if side < 0:
        ends.reverse()
    direction = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    outwards = np.array([-direction[1], direction[0]])
    x, y = ends[0] + outwards * across_m
    return Placement(float(x), float(y), math.atan2(direction[1], direction[0]))


def _parked(rng: np.random.Generator, street: Street, along_m: float, side: int) -> Placement:
    at = _beside(street, along_m + rng.uniform(-0.4, 0.4), side, ROAD_HALF_WIDTH_M - 1.08 + rng.normal(0, 0.06))
    nose = 0.0 if (side < 0) == (rng.random() < 0.9) else math.pi
    return Placement(at.x_m, at.y_m, at.yaw_rad + nose + rng.normal(0, 0.02))
