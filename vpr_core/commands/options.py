"""What several commands have in common."""

from __future__ import annotations

from jsonargparse import ArgumentParser
from tqdm import tqdm


def add_device(command: ArgumentParser, text: str = "where network and search run") -> None:
    command.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help=text)


def progress_bar(name: str, total: int) -> tqdm:
    """A bar with an estimate of the time left, on stderr."""
    return tqdm(total=total, desc=name, unit="msg")
