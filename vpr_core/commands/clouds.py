"""What `vpr-distill map --clouds true` adds to a map: options and the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from vpr_core.errors import InputError
from vpr_core.types import Pose

if TYPE_CHECKING:  # small_gicp is loaded where clouds are made, not for the --help of every command
    from vpr_core.retrieval.place_clouds import CloudOptions

_NAMES = ("clouds", "cloud_voxel_m", "lidar_pose", "sweep_middle_s")


def add_clouds(command: ArgumentParser) -> None:
    """Defaults are those of `place_clouds.CloudOptions`."""
    command.add_argument("--clouds", type=bool, default=False, help="store each place's cloud, to verify matches with")
    command.add_argument(
        "--cloud_voxel_m", type=float, default=0.4, help="edge of the cubes that clouds are thinned by"
    )
    command.add_argument(
        "--lidar_pose",
        type=str,
        default=None,
        help="where the LiDAR is on the vehicle: x,y,z in metres, or x,y,z,qx,qy,qz,qw; by default what the "
        "frames' card has from /tf_static, or else where the poses are",
    )
    command.add_argument(
        "--sweep_middle_s",
        type=float,
        default=0.0,
        help="how long after its stamp the middle of a cloud was taken: half a turn where the driver stamps the start",
    )


def mounting(text: str, option: str = "--lidar_pose") -> Pose:
    """A pose of three or seven numbers with commas between them; raises InputError on other text."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (3, 7):
        raise InputError(f"{option} {text} is expected to be x,y,z or x,y,z,qx,qy,qz,qw, such as 1.2,0,1.9")
    return Pose(*(tuple(part) for part in (numbers[:3], numbers[3:]) if part))  # type: ignore[arg-type]


def lidar_mounting(options: dict[str, Any], card: dict[str, Any]) -> Pose:
    """T_base_lidar by a command's options or a drive's card; where the poses are, where neither tells.

    Raises InputError on a bad value, FramesError on a bad card.
    """
    from vpr_core.data.mounting import extrinsics

    text = options["lidar_pose"]
    return mounting(text) if text is not None else extrinsics(card, "lidar") or Pose((0.0, 0.0, 0.0))


def cloud_options(options: dict[str, Any], card: dict[str, Any]) -> CloudOptions | None:
    """Takes its options out of a command's; None where no clouds are wanted.

    card: of the drive's frames, which tells where the LiDAR is unless the options do.
    Raises InputError on a bad value, FramesError on a bad card.
    """
    T_base_lidar = lidar_mounting(options, card)
    wanted, voxel_m, _, middle_s = (options.pop(name) for name in _NAMES)
    if not wanted:
        return None
    from vpr_core.retrieval.place_clouds import CloudOptions

    made = CloudOptions(voxel_m=voxel_m, T_base_lidar=T_base_lidar, sweep_middle_s=middle_s)
    made.check()
    return made


def add_to_map(out: Path, frames: Path, total: int, options: CloudOptions) -> None:
    """Store the clouds and tell their size."""
    from vpr_core.retrieval.place_clouds import FILE, store_clouds

    with tqdm(total=total, desc="clouds", unit="frame") as bar:
        stored = store_clouds(out, frames, options, bar.update)
    kib, mib = stored.bytes_per_place / 1024, stored.points.nbytes / 2**20
    where = ", ".join(f"{metres:g}" for metres in options.T_base_lidar.position_m)
    print(f"{out / FILE}: {kib:.1f} KiB a place, {mib:.1f} MiB, LiDAR at {where} m")
