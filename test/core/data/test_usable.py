"""What is not worth a query is refused by kind, what broken sensors send is told from every good frame there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from vpr_core.data.usable import (
    CLOUDS_NEEDED,
    DARK_LEVEL,
    KINDS,
    PART_OF_SECTORS,
    PATIENCE_S,
    SATURATED_SHARE,
    STRUCTURE_SHARE,
    ImageFigures,
    Watch,
    cloud_extent,
    image_figures,
)
from vpr_core.errors import InputError
from vpr_core.preprocess import decode_image
from vpr_core.synthetic.camera import Camera, photograph
from vpr_core.synthetic.conditions import CONDITIONS, condition_named
from vpr_core.synthetic.contact_sheet import spread
from vpr_core.synthetic.town import Town

SECOND_NS = 1_000_000_000
Picture = Callable[[tuple[int, int, int]], np.ndarray]
SHAPES = [(240, 320, 3), (375, 1242, 3)]


def jpeg(levels: np.ndarray, quality: int = 90) -> np.ndarray:
    """RGB as a camera with a compressed topic gives it."""
    image = np.clip(levels, 0, 255).astype(np.uint8)
    return decode_image(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def verdict(image: np.ndarray, watch: Watch | None = None, stamp_ns: int = 0) -> str:
    """The kind that an image is refused as; empty where it is not. By itself, unless a watch is given."""
    try:
        (watch or Watch(patience_s=0.0)).see(image, stamp_ns)
    except InputError as error:
        assert ":" in str(error) and "expected" in str(error)
        return error.kind
    return ""


def noisy(level: float, sigma: float, quality: int = 90, seed: int = 0) -> Picture:
    """What a sensor without light gives at high gain: black level and noise of each channel."""
    rng = np.random.default_rng(seed)
    return lambda shape: jpeg(level + rng.normal(0, sigma, shape), quality)


def hand(level: float, brighter: float, sigma: float) -> Picture:
    """A hand on the lens: light comes through it, more in the middle than at the sides."""

    def make(shape: tuple[int, int, int]) -> np.ndarray:
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / max(shape)
        shine = np.exp(-3 * ((x - 0.3) ** 2 + (y - 0.2) ** 2))[..., None] * (1.0, 0.4, 0.3)
        return jpeg(level + brighter * shine + np.random.default_rng(1).normal(0, sigma, shape))

    return make


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("kind", "picture"),
    [
        ("dark", lambda shape: np.zeros(shape, np.uint8)),
        *(("dark", noisy(level, sigma, 60)) for level in (4, 16, 32) for sigma in (3, 15, 25)),
        *(("dark", noisy(level, sigma, 95)) for level in (4, 16, 32) for sigma in (3, 15, 25)),
        ("white", lambda shape: np.full(shape, 255, np.uint8)),
        ("white", noisy(250, 6)),
        ("covered", noisy(90, 4)),
        ("covered", noisy(70, 25)),
        *(("covered", hand(level, 120, sigma)) for level in (40, 90) for sigma in (2, 12)),
    ],
)  # fmt: skip
def test_what_a_broken_or_covered_camera_sends_is_refused_by_kind(
    shape: tuple[int, int, int], kind: str, picture: Picture
) -> None:
    assert verdict(picture(shape)) == kind


@pytest.fixture(scope="module")
def town_pictures() -> dict[str, list[np.ndarray]]:
    """Two places of a town under every condition."""
    town, camera = Town(7), Camera(320, 240)
    scene = town.scene(0)
    return {
        name: [
            jpeg(photograph(camera, scene, pose, condition_named(name), town.sun_azimuth_rad,
                            rng=np.random.default_rng(number)))
            for number, pose in enumerate(spread(town, 2))
        ]
        for name in CONDITIONS
    }  # fmt: skip


def test_night_fog_rain_and_low_sun_of_a_town_pass(
    town_pictures: dict[str, list[np.ndarray]], figures: list[str]
) -> None:
    assert not {name: kinds for name, images in town_pictures.items() if (kinds := "".join(map(verdict, images)))}
    figures.append(f"refused images, town: {margins([image for images in town_pictures.values() for image in images])}")


def margins(images: list[np.ndarray]) -> str:
    worst = [image_figures(image) for image in images]
    return (
        f"{len(images)} good ones, brightest hundredth >= {min(each.bright for each in worst):.0f} ({DARK_LEVEL:.0f}), "
        f"overexposed <= {max(each.saturated for each in worst):.3f} ({SATURATED_SHARE}), "
        f"structured >= {min(each.structured for each in worst):.2f} ({STRUCTURE_SHARE})"
    )


@pytest.fixture(scope="module")
def streets(kitti: Any) -> list[np.ndarray]:
    """Real pictures of a drive."""
    return [decode_image(kitti.jpeg(index)) for index in range(0, 108, 6)]


def test_real_pictures_pass_also_as_poor_jpegs_in_the_dusk_and_blurred(
    streets: list[np.ndarray], figures: list[str]
) -> None:
    rng = np.random.default_rng(0)
    for image in streets:
        assert verdict(image) == verdict(jpeg(image, 20)) == verdict(jpeg(image * 0.4)) == ""
        assert verdict(jpeg(image * 0.6 + rng.normal(0, 15, image.shape))) == ""
        assert verdict(cv2.GaussianBlur(image, (0, 0), 4)) == verdict(jpeg(image * 0.3 + 110.0)) == ""
    figures.append(f"refused images, KITTI: {margins(streets)}")


LEFT = np.arange(1242)[:, None] < 0.9 * 1242


def blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """As by what lies on the lens itself."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma_px / 8), (width, height))


@pytest.mark.parametrize(
    ("kind", "spoilt"),
    [
        ("dark", lambda image, rng: image * 0.02),
        ("dark", lambda image, rng: image * 0.02 + 16 + rng.normal(0, 10, image.shape)),
        ("white", lambda image, rng: image * 4.0 + 230),
        ("white", lambda image, rng: 200 + (image - 128.0) * 0.01 + rng.normal(0, 3, image.shape)),
        ("covered", lambda image, rng: blurred(image, 150) * 0.5 + 60 + rng.normal(0, 3, image.shape)),
        ("covered", lambda image, rng: np.where(LEFT, 40 + rng.normal(0, 5, image.shape), image)),
    ],
    ids=["unlit", "unlit at high gain", "overexposed", "fog bank", "tape on the lens", "nine tenths covered"],
)  # fmt: skip
def test_real_pictures_that_were_spoilt_are_refused(
    streets: list[np.ndarray], kind: str, spoilt: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> None:
    rng = np.random.default_rng(0)
    for image in streets[::6]:
        assert verdict(jpeg(spoilt(image, rng))) == kind


def test_every_picture_of_the_corridor_passes_also_two_of_a_bare_wall(shared: Any, figures: list[str]) -> None:
    folder = shared / "data" / "rtabmap_corridor_loop" / "images"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    images, watch = [decode_image(path.read_bytes()) for path in sorted(folder.glob("*.jpg"))], Watch()
    assert {verdict(image, watch, number * SECOND_NS) for number, image in enumerate(images)} == {""}
    walls = [number + 1 for number, image in enumerate(images) if verdict(image)]
    assert walls == [19, 46], "a picture of a wall alone makes no place"
    figures.append(f"refused images, corridor: {margins([image for image in images if not verdict(image)])}")


@pytest.fixture(scope="module")
def view(town_pictures: dict[str, list[np.ndarray]]) -> np.ndarray:
    return town_pictures["noon"][0]


def seen(watch: Watch, images: Iterator[np.ndarray], begin_s: float, step_s: float, count: int) -> list[str]:
    return [verdict(next(images), watch, round((begin_s + step_s * number) * 1e9)) for number in range(count)]


def alive(view: np.ndarray) -> Iterator[np.ndarray]:
    """A camera that stands: the same view, with noise."""
    rng = np.random.default_rng(0)
    while True:
        yield (view + rng.normal(0, 0.6, view.shape)).clip(0, 255).astype(np.uint8)


def again(view: np.ndarray) -> Iterator[np.ndarray]:
    while True:
        yield view


def test_a_frozen_camera_is_refused_after_its_patience_and_taken_at_once_when_it_lives(view: np.ndarray) -> None:
    watch = Watch()
    assert set(seen(watch, alive(view), 0.0, 0.1, 100)) == {""}
    told = seen(watch, again(view), 10.0, 0.1, 40)
    assert told == [""] * round(PATIENCE_S / 0.1) + ["frozen"] * 20
    changed = view.copy()
    changed[0, 0] ^= 1
    assert verdict(changed, watch, 15 * SECOND_NS) == ""


def test_the_same_message_once_more_and_stamps_of_zero_are_no_frozen_camera(view: np.ndarray) -> None:
    for stamp_ns in (0, 5 * SECOND_NS):
        watch = Watch()
        assert {verdict(view, watch, stamp_ns) for _ in range(50)} == {""}


def test_a_recording_that_begins_again_begins_again(view: np.ndarray) -> None:
    watch = Watch()
    assert "frozen" in seen(watch, again(view), 100.0, 0.5, 10)
    assert verdict(view, watch, 104 * SECOND_NS) == "frozen", "a message that is late sets no clock back"
    assert verdict(view, watch, 50 * SECOND_NS) == ""


def test_what_is_asked_about_twice_is_judged_alike(view: np.ndarray) -> None:
    watch = Watch()
    for second in (0, 1, 2, 3):
        first, second_time = (verdict(view, watch, second * SECOND_NS) for _ in range(2))
        assert first == second_time == ("frozen" if second >= PATIENCE_S else "")


def test_a_wall_passes_and_a_cover_stays(view: np.ndarray) -> None:
    watch, walls = Watch(), (noisy(90, 2, seed=seed)(view.shape) for seed in range(100))
    assert seen(watch, walls, 0.0, 0.5, 6) == [""] * 4 + ["covered"] * 2
    assert verdict(view, watch, 3 * SECOND_NS) == ""
    assert seen(watch, walls, 3.5, 0.5, 5) == [""] * 4 + ["covered"], "patience begins again"


def test_kinds_that_are_not_asked_for_are_let_pass(view: np.ndarray) -> None:
    black, watch = np.zeros_like(view), Watch(patience_s=0.0)
    watch.see(black, 0, refuse=())
    watch.see(black, SECOND_NS, refuse=("white",))
    with pytest.raises(InputError, match="image is covered"):
        watch.see(black, 2 * SECOND_NS, refuse=[kind for kind in KINDS if kind != "dark"])
    with pytest.raises(InputError, match="image is frozen: the same to the last bit for 3.0 s"):
        watch.see(black, 3 * SECOND_NS, refuse=("frozen",))


def test_figures_of_pictures_that_are_known() -> None:
    board = np.kron(np.indices((12, 16)).sum(axis=0) % 2, np.ones((20, 20)))[..., None].repeat(3, axis=2) * 255
    assert image_figures(board.astype(np.uint8)) == ImageFigures(255.0, pytest.approx(127.5, abs=128), 0.5, 1.0)
    shaded = np.linspace(0, 255, 320)[None, :, None].repeat(240, axis=0).repeat(3, axis=2).astype(np.uint8)
    assert image_figures(shaded).structured == 0.0, "a plane of brightness shows no place"
    half = np.where(np.arange(320)[None, :, None] < 160, 255, 100).repeat(240, axis=0).repeat(3, axis=2)
    assert image_figures(half.astype(np.uint8)).saturated == 0.5


# Clouds


def turn(seed: int, number: int = 20_000, degrees: tuple[float, float] = (0.0, 360.0)) -> np.ndarray:
    """float32 [N, 4] of a LiDAR that sees walls at 5 to 40 m in a range of directions."""
    rng = np.random.default_rng(seed)
    angle, distance_m = np.radians(rng.uniform(*degrees, number)), rng.uniform(5, 40, number)
    return np.stack([distance_m * np.cos(angle), distance_m * np.sin(angle), rng.uniform(-2, 5, number),
                     rng.random(number)], axis=1).astype(np.float32)  # fmt: skip


def directions_deg(points: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(points[:, 1], points[:, 0])) % 360


def used_to(clouds: list[np.ndarray]) -> Watch:
    watch = Watch()
    for number, cloud in enumerate(clouds):
        assert verdict(cloud, watch, number * SECOND_NS // 10) == ""
    return watch


@pytest.mark.parametrize("begin_deg", [0.0, 95.0, 210.0])
def test_half_a_turn_is_refused_and_a_whole_one_taken_at_once(begin_deg: float) -> None:
    watch = used_to([turn(seed) for seed in range(CLOUDS_NEEDED)])
    for number in range(100):
        half = turn(number, degrees=(begin_deg, begin_deg + 180.0))
        assert verdict(half, watch, (2 + number) * SECOND_NS) == "half_cloud", "it never becomes what is usual"
    assert verdict(turn(8, 3_000), watch, 200 * SECOND_NS) == "half_cloud", "most packets lost"
    assert verdict(turn(7, 9_000), watch, 201 * SECOND_NS) == "", "fewer points, but all around"


def test_zeros_for_rays_without_a_return_are_no_points() -> None:
    watch = used_to([turn(seed) for seed in range(CLOUDS_NEEDED)])
    half = turn(1)
    half[directions_deg(half) < 180] = 0.0
    assert verdict(half, watch, 10 * SECOND_NS) == "half_cloud"


def test_a_lidar_that_looks_ahead_alone_is_whole_until_it_loses_more() -> None:
    watch = used_to([turn(seed, degrees=(-60.0, 60.0)) for seed in range(50)])
    assert verdict(turn(99, degrees=(0.0, 60.0)), watch, 10 * SECOND_NS) == "half_cloud"


def test_before_enough_clouds_came_nothing_is_usual() -> None:
    watch = used_to([turn(seed) for seed in range(CLOUDS_NEEDED - 1)])
    assert verdict(turn(0, degrees=(0.0, 180.0)), watch, 10 * SECOND_NS) == ""


def test_few_points_leave_directions_empty_by_chance() -> None:
    used_to([turn(seed, 40) for seed in range(200)])


def test_a_frozen_lidar_is_refused() -> None:
    watch, cloud = Watch(), turn(0)
    assert [verdict(cloud, watch, second * SECOND_NS) for second in (0, 1, 2)] == ["", "", "frozen"]
    assert verdict(turn(1), watch, 3 * SECOND_NS) == ""


def test_real_clouds_pass_whole_and_ahead_alone_and_halves_are_refused(kitti: Any, figures: list[str]) -> None:
    clouds = [kitti.scan(index) for index in range(0, 108, 3)]
    ahead = [cloud[np.abs((directions_deg(cloud) + 180) % 360 - 180) < 45] for cloud in clouds]
    used_to(ahead)
    watch = used_to(clouds)
    shares = []
    for number, cloud in enumerate(clouds):
        begin_deg = 10.0 * number
        half = cloud[(directions_deg(cloud) - begin_deg) % 360 < 180]
        shares.append(cloud_extent(half)[0])
        assert verdict(half, watch, (10 + number) * SECOND_NS) == "half_cloud"
    whole = min(cloud_extent(cloud)[0] for cloud in clouds)
    figures.append(
        f"half clouds, KITTI: whole ones in {whole:.2f} of the directions, halves in {max(shares):.2f} at most "
        f"(limit {PART_OF_SECTORS} of the usual)"
    )


def test_submaps_of_another_kind_pass(shared: Any) -> None:
    runs = [folder for folder in (shared / "data" / "oxford_robotcar_submaps_dh3d").glob("20*") if folder.is_dir()]
    if not runs:
        pytest.skip("no submaps of Oxford")
    for run in runs:
        used_to([np.fromfile(path, np.float32).reshape(-1, 3) for path in sorted(run.glob("*.bin"))])
