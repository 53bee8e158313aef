"""What stands in a town: the same for the same seed, off the roads, with an attribute for every face."""

from __future__ import annotations

import numpy as np
import trimesh

from vpr_core.synthetic.ground import PAVEMENT_M
from vpr_core.synthetic.scene import Scene
from vpr_core.synthetic.surface import Material
from vpr_core.synthetic.town import Town


def test_same_seed_same_town(town: Town) -> None:
    again = Town(town.seed)
    for name in ("vertices_m", "faces", "material", "colour", "owner", "normals", "label"):
        np.testing.assert_array_equal(getattr(town.surface, name), getattr(again.surface, name))
    assert town.sun_azimuth_rad == again.sun_azimuth_rad


def test_every_face_has_its_attributes_and_they_are_finite(town: Town) -> None:
    surface = town.surface
    count = len(surface.faces)
    for values in (surface.material, surface.colour, surface.owner, surface.normals):
        assert len(values) == count
        assert np.isfinite(values).all()
    assert surface.faces.max() == len(surface.vertices_m) - 1
    assert set(np.unique(surface.material)) >= {Material.GROUND, Material.WALL, Material.ROOF, Material.LEAVES}
    assert surface.owner[surface.material == Material.WALL].max() == len(town.facades) - 1
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1.0, atol=1e-4)


def test_the_mesh_is_a_trimesh_with_the_same_faces(town: Town) -> None:
    mesh = town.surface.mesh
    assert isinstance(mesh, trimesh.Trimesh)
    assert len(mesh.faces) == len(mesh.face_attributes["material"]) == len(town.surface.faces)


def test_houses_stand_beside_the_roads(town: Town) -> None:
    wall_corners = town.surface.faces[town.surface.material == Material.WALL].ravel()
    corners_m = town.surface.vertices_m[wall_corners][:, :2]
    assert len(town.facades) > 1000
    assert town.ground.beyond_kerb_m(corners_m).min() > PAVEMENT_M - 0.5


def test_squares_are_paved_open_and_differ(town: Town) -> None:
    assert len(town.squares_m) == 2
    ring = np.array([(np.cos(angle), np.sin(angle)) for angle in np.arange(0, 6.3, 0.3)])
    for middle_m in town.squares_m:
        points = (middle_m + np.concatenate([5 * ring, 14 * ring])).astype(np.float32)
        assert (town.ground.sample(points[:, 0], points[:, 1]).paved > 0.9).all()
        walls = town.surface.faces[town.surface.material == Material.WALL].ravel()
        away_m = np.linalg.norm(town.surface.vertices_m[walls][:, :2] - middle_m, axis=1)
        assert away_m.min() > 22.0
    pieces = []
    for middle_m in town.squares_m:
        near = np.linalg.norm(town.surface.vertices_m[town.surface.faces[:, 0]][:, :2] - middle_m, axis=1) < 15
        pieces.append(int((near & (town.surface.material != Material.GROUND)).sum()))
    assert min(pieces) > 20 and pieces[0] != pieces[1]


def test_the_first_square_lies_beside_the_loop(town: Town) -> None:
    assert np.linalg.norm(town.route("loop") - town.squares_m[0], axis=1).min() < 60.0


def test_facades_differ_yet_resemble_each_other(town: Town) -> None:
    walls = {tuple(np.round(colour, 3)) for colour in town.facades["wall"]}
    sizes = {tuple(size) for size in np.round(town.facades["window_m"], 3)}
    assert len(walls) > 100
    assert len(sizes) <= 12


def test_other_cars_are_parked_on_another_drive(town: Town, scene: Scene) -> None:
    other = town.scene(2)
    static = len(town.surface.faces)
    assert len(scene.material) != len(other.material) or not np.array_equal(scene.colour, other.colour)
    np.testing.assert_array_equal(scene.colour[:static], other.colour[:static])
    assert (scene.material[static:] == Material.PAINT).sum() > 1000


def test_the_ground_knows_road_pavement_and_crossing(town: Town) -> None:
    street = town.plan.streets[0]
    middle, direction = street.at(street.length_m / 2)
    left = np.array([-direction[1], direction[0]])
    points = np.float32([middle, middle + left * 3.0, middle + left * 6.0, town.plan.crossings_m[street.start]])
    ground = town.ground.sample(points[:, 0], points[:, 1])
    np.testing.assert_allclose(ground.beyond_kerb_m[1:3], [-2.2, 0.8], atol=0.2)
    assert ground.beyond_kerb_m[0] < -4.0
    np.testing.assert_allclose(ground.across_m[:3], [0.0, 3.0, 6.0], atol=0.3)
    assert ground.to_crossing_m[3] < 1.0 < ground.to_crossing_m[0]


def test_more_light_falls_beneath_a_lamp(town: Town) -> None:
    x, y = (np.float32([value, value]) for value in town.plan.streets[0].at(30.0)[0])
    grid = np.arange(-15, 15, dtype=np.float32)
    around = town.ground.sample(*(axis.ravel() for axis in np.meshgrid(x[0] + grid, y[0] + grid)))
    assert around.lamp_light.max() > 4 * around.lamp_light.min()
