"""DistilVPR-SC, forward and backward: matrix products against the literal N x N x D form, in time and peak memory."""

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from vpr_core.losses.manifolds import MOBIUS_EPS, artanh, to_poincare
from vpr_core.losses.relational import DistilVPRLoss

Angle = Literal["three_point", "cosine"]
ROOT = Path(__file__).resolve().parents[1]
WIDTH = 384
# The three-point angle takes N^3 time, so it is measured to a smaller N.
ANGLES: dict[Angle, tuple[int, ...]] = {"three_point": (128, 256, 512), "cosine": (128, 256, 512, 1024, 2048)}
# The literal form needs 24 kB a pair: 1.5 GB at 256 rows.
NAIVE_LIMIT = 256
Loss = Callable[[Tensor, Tensor], Tensor]


def naive_euclidean(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x[:, None] - y[None], dim=-1)


def naive_geodesic(x: Tensor, y: Tensor, c: float = 0.1) -> Tensor:
    """Norm of the Möbius difference of all pairs, term by term as in DistilVPR Eqs. (12) and (15)."""
    a, b = -to_poincare(x, c)[:, None], to_poincare(y, c)[None]
    ab, a2, b2 = (a * b).sum(-1, keepdim=True), (a * a).sum(-1, keepdim=True), (b * b).sum(-1, keepdim=True)
    sums = (1 + 2 * c * ab + c * b2) * a + (1 - c * a2) * b
    sums = sums / (1 + 2 * c * ab + c * c * a2 * b2 + MOBIUS_EPS)
    return 2 / math.sqrt(c) * artanh(math.sqrt(c) * torch.linalg.vector_norm(sums, dim=-1))


def naive_cosine(x: Tensor, y: Tensor) -> Tensor:
    return functional.cosine_similarity(x[:, None], y[None], dim=-1)


def naive_angles(rows: Tensor) -> Tensor:
    directions = functional.normalize(rows[None] - rows[:, None], dim=-1)
    return directions @ directions.mT


def naive_over_mean(distances: Tensor) -> Tensor:
    count = len(distances)
    distances = distances * (1 - torch.eye(count, dtype=distances.dtype, device=distances.device))
    return distances / (distances.sum() / (count * count - count))


def naive_sc(student: Tensor, teacher: Tensor, angle: Angle = "three_point") -> Tensor:
    """DistilVPRLoss("SC") in code mode with every pair's difference written out."""
    s, t = functional.normalize(student, dim=-1), functional.normalize(teacher, dim=-1)
    relations = (naive_euclidean, naive_cosine, naive_geodesic)
    cross = torch.stack([functional.mse_loss(relation(s, s), relation(t, s).detach()) for relation in relations]).sum()
    angles = naive_angles if angle == "three_point" else lambda rows: naive_cosine(rows, rows)
    matrices = (
        lambda rows: naive_over_mean(naive_euclidean(rows, rows)),
        angles,
        lambda rows: naive_over_mean(naive_geodesic(rows, rows)),
    )
    own = torch.stack([functional.smooth_l1_loss(matrix(student), matrix(teacher)) for matrix in matrices]).sum()
    return 10.0 * own + 0.1 * cross


def closed_sc(student: Tensor, teacher: Tensor, angle: Angle = "three_point") -> Tensor:
    return DistilVPRLoss("SC", angle=angle)(student, teacher)[0]


FORMS = {"naive": naive_sc, "closed": closed_sc}


def batch(size: int, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    student, teacher = (torch.randn(size, WIDTH, generator=generator).abs() / 8 for _ in range(2))
    return student.to(device).requires_grad_(), teacher.to(device)


def step(loss: Loss, student: Tensor, teacher: Tensor) -> tuple[float, Tensor]:
    value = loss(student, teacher)
    (gradient,) = torch.autograd.grad(value, student)
    return value.item(), gradient


def in_double(loss: Loss, student: Tensor, teacher: Tensor) -> tuple[float, Tensor]:
    return step(loss, student.detach().double().requires_grad_(), teacher.double())


def time_s(loss: Loss, student: Tensor, teacher: Tensor, repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step(loss, student, teacher)[1].sum().item()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def compare_time(size: int, angle: Angle, repeats: int, device: str) -> dict:
    student, teacher = batch(size, device)
    losses = {name: lambda s, t, form=form: form(s, t, angle) for name, form in FORMS.items()}
    (value, gradient), (closed_value, closed_gradient) = (in_double(loss, student, teacher) for loss in losses.values())
    seconds = {name: time_s(loss, student, teacher, repeats) for name, loss in losses.items()}
    return {
        "what": "time_ms",
        "angle": angle,
        "n": size,
        "naive": 1e3 * seconds["naive"],
        "closed": 1e3 * seconds["closed"],
        "naive/closed": seconds["naive"] / seconds["closed"],
        "value_difference": f"{abs(closed_value / value - 1):.1e}",
        "gradient_difference": f"{(closed_gradient - gradient).abs().max() / gradient.abs().max():.1e}",
    }


def resident_peak_kib() -> int:
    # getrusage would answer with the parent's peak: it outlives exec.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def peak_mib(form: str, size: int, angle: Angle) -> float:
    """Peak memory of one step above that of a small one, in a process of its own [MiB]."""
    torch.set_num_threads(1)
    peaks = []
    for count in (8, size):
        step(lambda s, t: FORMS[form](s, t, angle), *batch(count, "cpu"))
        peaks.append(resident_peak_kib())
    return (peaks[1] - peaks[0]) / 1024


def measured_peak_mib(form: str, size: int, angle: Angle) -> float:
    command = f"from bench.distil_losses import peak_mib; print(peak_mib({form!r}, {size}, {angle!r}))"
    child = subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=True, capture_output=True, text=True)
    return float(child.stdout)


def compare_memory(size: int, angle: Angle) -> dict:
    closed = measured_peak_mib("closed", size, angle)
    row = {"what": "peak_mib", "angle": angle, "n": size, "naive": "-", "closed": closed, "naive/closed": "-"}
    if size <= NAIVE_LIMIT:
        naive = measured_peak_mib("naive", size, angle)
        row |= {"naive": naive, "naive/closed": naive / closed}
    return row | {"value_difference": "-", "gradient_difference": "-"}


def run(quick: bool, device: str = "cpu") -> list[dict]:
    """Times at N = 128 and peak memory over N, at D = 384 in float32; `quick` leaves out the large N.

    The differences, relative to the naive form, are of values and gradients in float64.
    """
    repeats = 3 if quick else 15
    rows = [compare_time(128, angle, repeats, device) for angle in ANGLES]
    for angle, sizes in ANGLES.items():
        rows += [compare_memory(size, angle) for size in (sizes[:1] if quick else sizes)]
    return rows


def main() -> None:
    for position, row in enumerate(run(quick=False)):
        if position == 0:
            print(*(f"{name:>19}" for name in row))
        print(*(f"{value:>19.1f}" if isinstance(value, float) else f"{value:>19}" for value in row.values()))


if __name__ == "__main__":
    main()
