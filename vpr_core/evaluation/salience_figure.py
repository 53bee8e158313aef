"""A picture of where several networks look: a row for each frame, a column for each network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib
import numpy as np

from vpr_core.evaluation.salience import Salience

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend has to be chosen first)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

BRIGHTEST = 6.0
"""Times an even look at which colours end."""
_RANGE_M = 40.0


@dataclass(frozen=True)
class Look:
    """One network on one frame; what it does not take is None."""

    title: str
    salience: Salience
    voxel_size_m: float | None


def salience_figure(
    frames: Sequence[tuple[str, np.ndarray | None, np.ndarray | None]], looks: Sequence[Sequence[Look]]
) -> Figure:
    """The figure.

    frames: name, RGB uint8 [H, W, 3] or None and cloud [N, 4] or None of each row; looks: the networks of each row.
    A network with both sensors has two columns, image and cloud.
    """
    panels = [_panels(frame, row) for frame, row in zip(frames, looks, strict=True)]
    figure, axes = plt.subplots(
        len(panels), len(panels[0]), figsize=(3.2 * len(panels[0]), 2.9 * len(panels)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row_axes, row in zip(axes, panels, strict=True):
        for ax, draw in zip(row_axes, row, strict=True):
            draw(ax)
    scale = plt.cm.ScalarMappable(plt.Normalize(0, BRIGHTEST), "inferno")
    bar = figure.colorbar(scale, ax=axes, location="bottom", shrink=0.4, aspect=40)
    bar.set_label("share of the descriptor's squared length, 1 = an even look", fontsize=8)
    return figure


def _panels(
    frame: tuple[str, np.ndarray | None, np.ndarray | None], row: Sequence[Look]
) -> list[Callable[[Axes], None]]:
    name, image, cloud = frame
    panels: list[Callable[[Axes], None]] = []
    if image is not None:
        panels.append(partial(_show_image, title=name, image=image))
    for look in row:
        if look.salience.image is not None and image is not None:
            panels.append(partial(_show_image, title=look.title, image=image, found=look.salience))
        if look.salience.sites and cloud is not None:
            panels.append(partial(_show_cloud, look=look, cloud=cloud))
    return panels


def _show_image(ax: Axes, title: str, image: np.ndarray, found: Salience | None = None) -> None:
    ax.set_title(title, fontsize=8)
    ax.axis("off")
    if found is None:
        ax.imshow(image)
        return
    ax.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    ax.imshow(found.of_pixels(*image.shape[1::-1]), cmap="inferno", vmin=0, vmax=BRIGHTEST, alpha=0.6)


def _show_cloud(ax: Axes, look: Look, cloud: np.ndarray) -> None:
    """From above, x ahead is up; the most salient points are drawn last."""
    assert look.voxel_size_m is not None
    value = look.salience.of_points(cloud, look.voxel_size_m)
    order = np.argsort(value)
    ax.scatter(-cloud[order, 1], cloud[order, 0], c=value[order], s=0.6, cmap="inferno", vmin=0, vmax=BRIGHTEST)
    ax.set(aspect="equal", xlim=(-_RANGE_M, _RANGE_M), ylim=(-_RANGE_M, _RANGE_M), facecolor="#20242a")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(look.title, fontsize=8)
    ax.set_xlabel(f"{2 * _RANGE_M:.0f} m, from above", fontsize=7)
