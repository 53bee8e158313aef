"""`vpr-distill weigh`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from vpr_core.commands.options import add_device, check_output_file, file_ending
from vpr_core.structvpr.partition import GROUP_NAMES, N_T
from vpr_core.structvpr.weighting import SCHEMES


def define(command: ArgumentParser) -> None:
    """Weigh each training sample by what two trained networks make of it. StructVPR distils by these weights.

    A sample is a frame and another of its place. x is the place of that other frame in the list of the teacher, which
    sees labels, or whatever else it was trained on; y in that of the student. D1 = {x <= N_t < y} are the samples of
    which the student learns most, D2 = {x <= y <= N_t}, D3 = {y < x <= N_t}, D4 = {x > N_t} those that the teacher does
    not master. Each group's share of the samples and of the weight is printed. `distill --sample_weights` takes the
    file.
    """
    command.add_argument(
        "--rgb", "--student", type=Path, required=True,
        help="checkpoint folder of the RGB branch, or of any student trained alone",
    )  # fmt: skip
    command.add_argument(
        "--segmentation", "--teacher", type=Path, required=True,
        help="checkpoint folder of the segmentation branch, or of any teacher, such as one of camera and LiDAR",
    )  # fmt: skip
    command.add_argument(
        "--frames", type=Path, nargs="+", required=True, help="frames folders to train on, in the order of `distill`"
    )
    command.add_argument("--out", type=file_ending(".npz"), required=True, help="file to write, such as weights.npz")
    command.add_argument("--scheme", choices=list(SCHEMES), default="paper", help="how ranks become weights")
    command.add_argument("--n_t", type=int, default=N_T, help="rank up to which a network masters a sample")
    command.add_argument(
        "--groups",
        nargs="+",
        choices=[*GROUP_NAMES, "x<=N_t", "y<=N_t", "y>N_t"],
        default=None,
        help="only samples of these sets keep their weight",
    )
    command.add_argument(
        "--positive_m", type=float, default=None, help="frames this near are samples [m]; that of --rgb by default"
    )
    command.add_argument(
        "--cache", type=Path, default=None, help="folder to keep descriptors in; each checkpoint's own by default"
    )
    add_device(command, "where the networks run")


def run(options: dict[str, Any]) -> None:
    from tqdm import tqdm

    from vpr_core.training.weigh import weigh

    check_output_file(options["out"])
    card = weigh(**options, progress=lambda name, total: tqdm(total=total, desc=name, unit="frame"))
    print(f"{'set':<8}{'samples':>9}{'weight':>9}")
    for name, share in card["shares"].items():
        print(f"{name:<8}{share:>9.2%}{card['weight_shares'][name]:>9.2%}")
    print(f"{options['out']}: {card['samples']} samples, mean weight {card['mean_weight']:g}")
