"""Cards of data and models: what drives were compared, and what described them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpr_core.data.frames import Frames
from vpr_core.errors import BundleError
from vpr_core.files import read_manifest
from vpr_core.retrieval.bundle import MADE_BY, MANIFEST, SCHEMA, Bundle


def drive_rows(drives: Sequence[Frames]) -> list[dict[str, Any]]:
    """A row for each drive, as its card has it; None where the card does not say."""
    return [_drive_row(drive.card) for drive in drives]


def _drive_row(card: dict[str, Any]) -> dict[str, Any]:
    size, drops = card.get("image_size"), card.get("drops") or {}
    keyframes = ", ".join(f"{value:g} {unit}" for unit, value in (card.get("keyframes") or {}).items())
    return {
        "drive": card["session"],
        "frames": (card.get("counts") or {}).get("frames"),
        "metres": card.get("metres"),
        "seconds": card.get("seconds"),
        "image": f"{size[0]}x{size[1]}" if size else None,
        "a frame every": keyframes or None,
        "cloud off by, mean ms": (card.get("synchronisation_ms") or {}).get("mean"),
        "dropped": "; ".join(f"{count} x {reason}" for reason, count in drops.items()) or "none",
        "bag": card.get("bag"),
        "area": card.get("area"),
        "map frame": card["map_frame"],
    }


def bundle_rows(folder: Path, bundle: Bundle) -> list[dict[str, Any]]:
    """What a bundle is, as rows of (entry, value): its manifest and card, its encoder's size and parameters."""
    manifest = read_manifest(folder, MANIFEST, SCHEMA, BundleError, MADE_BY)
    encoder = folder / manifest["encoder"]
    entries = {
        "name": folder.resolve().name,
        "hash": bundle.hash,
        "modality": bundle.modality,
        "descriptor": f"{bundle.dim} numbers",
        "accepts from similarity": bundle.accept_similarity,
        "parameters": f"{parameters(bundle, encoder):,}",
        "encoder file": f"{encoder.name}, {encoder.stat().st_size / 1e6:.1f} MB",
        **_flat({name: value for name, value in manifest.items() if name in (*bundle.input_keys, "model")}),
        **_card(bundle.card),
    }
    return [{"entry": name.replace("_", " "), "value": value} for name, value in entries.items() if value is not None]


def parameters(bundle: Bundle, encoder: Path) -> int:
    """Trained numbers of a bundle's network."""
    if bundle.modality == "camera":
        import onnx

        graph = onnx.load(str(encoder)).graph
        return sum(int(np.prod(weights.dims)) for weights in graph.initializer)
    from vpr_core.retrieval.lidar_bundle import LidarBundle  # brings torch, which a camera bundle does without

    assert isinstance(bundle, LidarBundle)
    return sum(weights.numel() for weights in bundle.encoder.model.parameters())


def _card(card: dict[str, Any]) -> dict[str, Any]:
    """A training's card: its drives in one line, everything else by its own name."""
    drives = card.get("drives") or []
    frames = sum(drive.get("frames", 0) for drive in drives)
    names = ", ".join(str(drive.get("session")) for drive in drives)
    trained_on = {"trained on": f"{len(drives)} drives, {frames} frames: {names}"} if drives else {}
    return {**trained_on, **_flat({name: value for name, value in card.items() if name != "drives"})}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested entries under names such as "acceptance, precision"; lists as text."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}, ")
        else:
            flat[prefix + name] = ", ".join(map(str, value)) if isinstance(value, list) else _shortened(value)
    return flat


def _shortened(value: Any) -> Any:
    """A sha256 by its first digits, as bundles are named."""
    return value[:16] if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value
