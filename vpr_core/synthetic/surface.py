"""Triangles and what each of them is made of, collected piece by piece."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import trimesh


class Material(enum.IntEnum):
    """How a face is shaded and how much it reflects to a LiDAR."""

    GROUND = 0
    WALL = 1
    ROOF = 2
    LEAVES = 3
    PLAIN = 4
    PAINT = 5
    GLASS = 6
    LAMP = 7
    SIGN = 8
    REFLECTOR = 9
    EVERGREEN = 10
    """Leaves that stay in winter: needles and hedges."""


class Label(enum.IntEnum):
    """What a face is part of: the training ids of Cityscapes."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    TRAFFIC_LIGHT = 6
    TRAFFIC_SIGN = 7
    VEGETATION = 8
    TERRAIN = 9
    SKY = 10
    PERSON = 11
    RIDER = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    TRAIN = 16
    MOTORCYCLE = 17
    BICYCLE = 18
    NONE = 255


@dataclass(frozen=True)
class Surface:
    """A triangle mesh with one attribute row per face. Map frame, metres."""

    vertices_m: np.ndarray
    """[V, 3] float32."""
    faces: np.ndarray
    """[F, 3] int32."""
    material: np.ndarray
    """[F] uint8, values of Material."""
    colour: np.ndarray
    """[F, 3] float32, linear reflectance in [0, 1]."""
    owner: np.ndarray
    """[F] int32: the row of the façade table for walls, a number per object elsewhere."""
    normals: np.ndarray
    """[F, 3] float32 unit normals to shade with; those of leaves point away from the middle of their crown."""
    label: np.ndarray
    """[F] uint8, values of Label; the ground is ROAD throughout, and its layout tells pavement and terrain apart."""

    @cached_property
    def mesh(self) -> trimesh.Trimesh:
        """The same triangles for a viewer or an export, with the attributes as `face_attributes`."""
        mesh = trimesh.Trimesh(self.vertices_m, self.faces, process=False)
        mesh.face_attributes.update(material=self.material, colour=self.colour, owner=self.owner, label=self.label)
        return mesh


@dataclass(frozen=True)
class Placement:
    """Where a piece stands: T_map_piece without tilt."""

    x_m: float
    y_m: float
    yaw_rad: float = 0.0
    z_m: float = 0.0

    def to_map(self, points_m: np.ndarray) -> np.ndarray:
        """[N, 3] or [N, 2] points of the piece in the map frame, same shape."""
        points = np.asarray(points_m, np.float64)
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        moved = points.copy()
        moved[:, 0] = self.x_m + cos * points[:, 0] - sin * points[:, 1]
        moved[:, 1] = self.y_m + sin * points[:, 0] + cos * points[:, 1]
        if points.shape[1] == 3:
            moved[:, 2] += self.z_m
        return moved


_BOX_FACES = np.array(
    [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4]]
    + [[1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]]
)


class SurfaceBuilder:
    """Collects pieces; `build` joins them into one Surface."""

    def __init__(self) -> None:
        self._pieces: list[tuple[np.ndarray, ...]] = []
        self._vertex_count = 0
        self._label = Label.BUILDING

    @contextmanager
    def labelled(self, label: Label) -> Iterator[None]:
        """Pieces added within are part of this; outside they are part of a building."""
        before, self._label = self._label, label
        try:
            yield
        finally:
            self._label = before

    def add(
        self,
        vertices_m: np.ndarray,
        faces: np.ndarray,
        material: Material | np.ndarray,
        colour: np.ndarray | tuple[float, float, float],
        *,
        owner: int = 0,
        normals: np.ndarray | None = None,
    ) -> None:
        """Triangles in the map frame; `material` and `colour` are one for all, or one per face."""
        count = len(faces)
        self._pieces.append(
            (
                np.asarray(vertices_m, np.float32),
                np.asarray(faces, np.int32) + self._vertex_count,
                np.broadcast_to(np.asarray(material, np.uint8), (count,)),
                np.broadcast_to(np.asarray(colour, np.float32), (count, 3)),
                np.full(count, owner, np.int32),
                np.asarray(face_normals(vertices_m, faces) if normals is None else normals, np.float32),
                np.full(count, self._label, np.uint8),
            )
        )
        self._vertex_count += len(vertices_m)

    def polygon(
        self,
        at: Placement,
        corners_m: np.ndarray | list[tuple[float, float, float]],
        material: Material,
        colour: np.ndarray | tuple[float, float, float],
        *,
        owner: int = 0,
    ) -> None:
        """A flat convex polygon, its corners [N, 3] in the frame of the piece."""
        corners = at.to_map(np.asarray(corners_m))
        faces = np.array([[0, i, i + 1] for i in range(1, len(corners) - 1)])
        self.add(corners, faces, material, colour, owner=owner)

    def box(
        self,
        at: Placement,
        low_m: tuple[float, float, float],
        high_m: tuple[float, float, float],
        material: Material,
        colour: np.ndarray | tuple[float, float, float],
        *,
        taper: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    ) -> None:
        """A box between two corners; `taper` draws in the top at its back, front, right and left side [m]."""
        (x0, y0, z0), (x1, y1, z1) = low_m, high_m
        back, front, right, left = taper
        bottom = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
        top = [
            (x0 + back, y0 + right, z1),
            (x1 - front, y0 + right, z1),
            (x1 - front, y1 - left, z1),
            (x0 + back, y1 - left, z1),
        ]
        self.add(at.to_map(np.array(bottom + top)), _BOX_FACES, material, colour)

    def post(
        self,
        at: Placement,
        radii_m: tuple[float, float],
        heights_m: tuple[float, float],
        material: Material,
        colour: np.ndarray | tuple[float, float, float],
        *,
        sides: int = 6,
    ) -> None:
        """An upright pole or cone between two heights, with its radius at the bottom and at the top."""
        angles = np.arange(sides) * 2 * math.pi / sides
        ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        rings = [np.column_stack([ring * r, np.full(sides, z)]) for r, z in zip(radii_m, heights_m, strict=True)]
        low = np.arange(sides)
        following = (low + 1) % sides
        faces = np.concatenate(
            [
                np.stack([low, following, following + sides], axis=1),
                np.stack([low, following + sides, low + sides], axis=1),
                np.stack([np.full(sides - 2, sides), low[1:-1] + sides, low[2:] + sides], axis=1),
            ]
        )
        self.add(at.to_map(np.concatenate(rings)), faces, material, colour)

    def build(self) -> Surface:
        return Surface(*(np.concatenate(column) for column in zip(*self._pieces, strict=True)))


def face_normals(vertices_m: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [F, 3] of triangles [F, 3] over vertices [V, 3]."""
    corners = np.asarray(vertices_m, np.float64)[faces]
    (ax, ay, az), (bx, by, bz) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    # Written out: np.cross takes ten times as long on a few triangles.
    normals = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
