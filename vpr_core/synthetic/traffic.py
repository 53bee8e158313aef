"""What moves in a town: cars that drive in their lanes and people who walk on pavements and over crossings.

Everything follows a way that is known beforehand, so that where it is depends on the time alone. A way that would lead
into the vehicle that looks, or into something else that moves, is not taken: cars never brake for each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vpr_core.synthetic import people, props
from vpr_core.synthetic.lines import heading
from vpr_core.synthetic.routes import line_through
from vpr_core.synthetic.streets import ROAD_HALF_WIDTH_M, Node, Street, StreetPlan
from vpr_core.synthetic.surface import Label, Placement, Surface, SurfaceBuilder, face_normals
from vpr_core.synthetic.trajectory import CRUISE_MPS, Trajectory, follow
from vpr_core.types import Pose

HORIZON_S = 240.0
"""For so long nothing meets anything else where the way of the vehicle that looks is not given."""
NEAR_M = 120.0
"""What moves farther from the vehicle that looks than this is left out."""
_CARS, _WALKERS, _CROSSERS = 48, 120, 20
_STEP_S = 0.25
_FASTEST_MPS = 1.1 * CRUISE_MPS
_AT_CROSSING_M = 15.0
_CAR_CLEAR_M = (6.2, 2.15)
_PERSON_CLEAR_M = (4.0, 1.6)
_STRIDES_RADPS = 2 * math.pi * 0.95
_WALK_MPS = 1.35


@dataclass(frozen=True)
class Mover:
    """A model in its own frame, x forwards, and the way that it goes; at the end of its way it starts again."""

    model: Surface
    way: Trajectory
    begin_s: float
    """How far into its way it is at time 0."""

    def poses(self, times_s: np.ndarray) -> np.ndarray:
        """x, y [m], yaw [rad] and speed [m/s] at each of T times, [T, 4]."""
        way, at_s = self.way, (times_s + self.begin_s) % self.way.duration_s
        return np.stack(
            [np.interp(at_s, way.time_s, values) for values in (way.x_m, way.y_m, way.yaw_rad, way.speed_mps)], axis=-1
        )


@dataclass(frozen=True)
class MovedMesh:
    """What moves, at one time, in the map frame."""

    vertices_m: np.ndarray
    """[V, 3] float32."""
    faces: np.ndarray
    """[F, 3] int32."""
    normals: np.ndarray
    """[F, 3] float32."""
    rows: np.ndarray
    """[F] int32: which faces of `Traffic.rest` these are."""


class Traffic:
    """All movers of one drive as one mesh whose vertices depend on the time and whose other attributes do not."""

    def __init__(self, movers: list[Mover], ego: Trajectory | None = None) -> None:
        self.movers, self._ego = movers, ego
        models = [mover.model for mover in movers]
        first_vertex = np.cumsum([0] + [len(model.vertices_m) for model in models[:-1]])
        faces = [model.faces + first for model, first in zip(models, first_vertex, strict=True)]
        joined = {
            name: np.concatenate([getattr(model, name) for model in models])
            for name in ("vertices_m", "material", "colour", "owner", "normals", "label")
        }
        self.rest = Surface(faces=np.concatenate(faces), **joined)
        self._swing_m = np.concatenate([_swing_m(model) for model in models])
        self._of_vertex = np.repeat(np.arange(len(models)), [len(model.vertices_m) for model in models])
        self._of_face = np.repeat(np.arange(len(models)), [len(model.faces) for model in models])

    def at(self, time_s: float) -> MovedMesh:
        """The mesh of what is near enough to be seen at a time since the start of the drive."""
        poses = self.poses(time_s)
        near = self._is_near(time_s, poses)
        seen = np.nonzero(near[self._of_vertex])[0]
        rows = np.nonzero(near[self._of_face])[0].astype(np.int32)
        vertices_m = self._moved(time_s, poses, seen)
        number = np.zeros(len(self._of_vertex), np.int32)
        number[seen] = np.arange(len(seen))
        faces = number[self.rest.faces[rows]]
        return MovedMesh(vertices_m, faces, face_normals(vertices_m, faces).astype(np.float32), rows)

    def _moved(self, time_s: float, poses: np.ndarray, vertices: np.ndarray) -> np.ndarray:
        """Some of the vertices in the map frame, [V, 3] float32."""
        x_m, y_m, yaw_rad, speed_mps = poses.T
        stride = np.sin(_STRIDES_RADPS * time_s + np.arange(len(poses))) * np.minimum(speed_mps / _WALK_MPS, 1.2)
        which, local = self._of_vertex[vertices], self.rest.vertices_m[vertices]
        cos, sin = np.cos(yaw_rad)[which], np.sin(yaw_rad)[which]
        ahead, aside = local[:, 0] + self._swing_m[vertices] * stride[which], local[:, 1]
        x, y = x_m[which] + cos * ahead - sin * aside, y_m[which] + sin * ahead + cos * aside
        return np.stack([x, y, local[:, 2]], axis=1).astype(np.float32)

    def poses(self, time_s: float) -> np.ndarray:
        """x, y [m], yaw [rad] and speed [m/s] of every mover, [M, 4]."""
        times_s = np.array([time_s])
        return np.concatenate([mover.poses(times_s) for mover in self.movers])

    def _is_near(self, time_s: float, poses: np.ndarray) -> np.ndarray:
        if self._ego is None:
            return np.ones(len(poses), bool)
        x, y, _ = self._ego.pose(time_s).position_m
        return np.hypot(poses[:, 0] - x, poses[:, 1] - y) < NEAR_M


def _swing_m(model: Surface) -> np.ndarray:
    if (model.label == Label.PERSON).any():
        return people.swing_m(model.vertices_m)
    return np.zeros(len(model.vertices_m))


def drawn_traffic(plan: StreetPlan, rng: np.random.Generator, ego: Trajectory | None = None) -> Traffic:
    """Cars and people for one drive; `ego` is the way of the vehicle that looks, from its time 0, and most of them come
    near it at some time."""
    crowd = _Crowd(ego)
    streets = _streets_near(plan, ego)
    crowd.admit(lambda: _car(plan, rng, crowd.horizon_s, ego), _CARS, _CAR_CLEAR_M)
    crowd.admit(lambda: _crosser(streets, rng), _CROSSERS, _PERSON_CLEAR_M)
    walkers = [_walker(streets, rng) for _ in range(_WALKERS)]
    return Traffic([*crowd.movers, *walkers], ego)


def _streets_near(plan: StreetPlan, ego: Trajectory | None) -> list[Street]:
    """The streets that the vehicle that looks takes or crosses."""
    if ego is None:
        return plan.streets
    path_m = np.stack([ego.x_m, ego.y_m], axis=1)[::5]
    ends_m = [plan.crossings_m[node] for street in plan.streets for node in (street.start, street.end)]
    near = [np.linalg.norm(path_m - end_m, axis=1).min() < _AT_CROSSING_M for end_m in ends_m]
    found = [street for i, street in enumerate(plan.streets) if near[2 * i] or near[2 * i + 1]]
    return found or plan.streets


class _Crowd:
    """Movers that keep clear of each other and of the vehicle that looks."""

    def __init__(self, ego: Trajectory | None) -> None:
        self.horizon_s = HORIZON_S if ego is None else ego.duration_s
        self._times_s = np.arange(0.0, self.horizon_s, _STEP_S)
        self.movers: list[Mover] = []
        self._taken: list[np.ndarray] = []
        if ego is not None:
            own = [np.interp(self._times_s, ego.time_s, values) for values in (ego.x_m, ego.y_m, ego.yaw_rad)]
            self._taken.append(np.stack([*own, np.zeros_like(self._times_s)], axis=-1))

    def admit(self, draw: Callable[[], Mover], count: int, clear_m: tuple[float, float]) -> None:
        """Draws twice as many movers as wanted at most, and keeps those that meet nobody."""
        wanted = len(self.movers) + count
        for _ in range(2 * count):
            mover = draw()
            poses = mover.poses(self._times_s)
            if not any(_meets(poses, others, clear_m) for others in self._taken):
                self.movers.append(mover)
                self._taken.append(poses)
            if len(self.movers) == wanted:
                return


def _meets(poses: np.ndarray, others: np.ndarray, clear_m: tuple[float, float]) -> bool:
    """Whether two movers, [T, 4] poses, ever come closer than clear_m ahead and aside, seen from either of them."""
    away = others[:, :2] - poses[:, :2]
    near = np.abs(away).max(axis=1) < clear_m[0] + 2.0
    if not near.any():
        return False
    away = away[near]
    for yaw_rad in (poses[near, 2], others[near, 2]):
        cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
        ahead, aside = cos * away[:, 0] + sin * away[:, 1], cos * away[:, 1] - sin * away[:, 0]
        if ((np.abs(ahead) < clear_m[0]) & (np.abs(aside) < clear_m[1])).any():
            return True
    return False


def _car(plan: StreetPlan, rng: np.random.Generator, horizon_s: float, ego: Trajectory | None) -> Mover:
    """A car on a random way through the town, on the right lane, that some time is where the vehicle that looks is."""
    builder = SurfaceBuilder()
    with builder.labelled(Label.CAR):
        props.add_car(builder, rng, Placement(0.0, 0.0), lights_on=True)
    meeting_s = float(rng.uniform(0.0, horizon_s))
    middle = _crossing_near(plan, rng, None if ego is None else ego.pose(meeting_s))
    before = _wander(plan, rng, [middle], _FASTEST_MPS * (meeting_s + 5.0))
    nodes = _wander(plan, rng, before[::-1], _FASTEST_MPS * (horizon_s - meeting_s + 5.0))
    way = follow(line_through(plan, nodes), rng)
    walked_m = sum(plan.graph.edges[pair]["length_m"] for pair in zip(before, before[1:], strict=False))
    there_s = float(np.interp(walked_m, np.arange(len(way.time_s)), way.time_s))
    return Mover(builder.build(), way, max(there_s - meeting_s, 0.0))


def _crossing_near(plan: StreetPlan, rng: np.random.Generator, pose: Pose | None) -> Node:
    nodes = sorted(plan.graph.nodes)
    if pose is not None:
        away_m = [float(np.linalg.norm(plan.crossings_m[node] - pose.position_m[:2])) for node in nodes]
        nodes = [nodes[int(i)] for i in np.argsort(away_m, kind="stable")[:4]]
    return nodes[int(rng.integers(len(nodes)))]


def _wander(plan: StreetPlan, rng: np.random.Generator, nodes: list[Node], length_m: float) -> list[Node]:
    """The crossings `nodes` and those of a random walk on from them of about this length that does not turn round."""
    nodes, walked_m = list(nodes), 0.0
    while walked_m < length_m:
        following = [node for node in sorted(plan.graph[nodes[-1]]) if node not in nodes[-2:-1]]
        nodes.append(following[int(rng.integers(len(following)))])
        walked_m += plan.graph.edges[nodes[-2], nodes[-1]]["length_m"]
    return nodes


def _walker(streets: list[Street], rng: np.random.Generator) -> Mover:
    """Someone who walks up and down a pavement."""
    street = streets[int(rng.integers(len(streets)))]
    across_m = float(rng.choice([-1, 1])) * (ROAD_HALF_WIDTH_M + rng.uniform(1.3, 1.9))
    along_m = np.arange(12.0, max(street.length_m - 12.0, 16.0), 1.0)
    line_m = np.array([_spot(street, float(distance_m), across_m) for distance_m in along_m])
    return _there_and_back(rng, line_m, 0.0)


def _crosser(streets: list[Street], rng: np.random.Generator) -> Mover:
    """Someone who waits beside a zebra crossing, crosses, and some time later comes back."""
    street = streets[int(rng.integers(len(streets)))]
    along_m = 9.0 if rng.random() < 0.5 else street.length_m - 9.0
    ends_m = np.array([_spot(street, along_m, across_m) for across_m in (-ROAD_HALF_WIDTH_M - 0.9, 6.1)])
    return _there_and_back(rng, ends_m, float(rng.uniform(8.0, 40.0)))


def _spot(street: Street, along_m: float, across_m: float) -> np.ndarray:
    position, direction = street.at(along_m)
    return position + across_m * np.array([-direction[1], direction[0]])


def _there_and_back(rng: np.random.Generator, line_m: np.ndarray, wait_s: float) -> Mover:
    """Along a line [P, 2], a wait, back and another wait, turning round while waiting."""
    speed_mps, turn_s = float(rng.uniform(1.15, 1.55)), wait_s + 0.8
    steps_s = np.linalg.norm(np.diff(line_m, axis=0), axis=1) / speed_mps
    there_s = np.concatenate([[0.0], np.cumsum(steps_s)])
    back_s = there_s[-1] + turn_s + np.concatenate([[0.0], np.cumsum(steps_s[::-1])])
    course_rad = heading(line_m) if len(line_m) > 2 else np.full(2, math.atan2(*(line_m[1] - line_m[0])[::-1]))
    points = np.concatenate([line_m, line_m[::-1], line_m[:1]])
    yaw_rad = np.concatenate([course_rad, course_rad[::-1] + math.pi, course_rad[:1] + 2 * math.pi])
    time_s = np.concatenate([there_s, back_s, [back_s[-1] + turn_s]])
    x_m, y_m = points.T
    way = Trajectory(time_s, x_m, y_m, yaw_rad, np.zeros(len(points)), _gait_mps(time_s, points))
    return Mover(people.person(rng), way, float(rng.uniform(0.0, way.duration_s)))


def _gait_mps(time_s: np.ndarray, points_m: np.ndarray) -> np.ndarray:
    """Speed at every point of a walk, that of the step after it; 0 where someone waits."""
    steps_m = np.linalg.norm(np.diff(points_m, axis=0), axis=1)
    return np.append(steps_m / np.diff(time_s), 0.0)
