"""Which lines of requirements/*.txt are installed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"

# One line of `pip check`: "torch 2.13.0 has requirement sympy>=1.13.3, but you have sympy 1.9."
CONFLICT = re.compile(r"^(?P<user>\S+) \S+ has requirement (?P<used>[A-Za-z0-9._-]+)")


def canonical(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, list[str]]:
    """The lines of a lock by package name; several where versions differ by Python."""
    found: dict[str, list[str]] = {}
    for line in (REQUIREMENTS / lock).read_text().splitlines():
        if "==" in line and not line.startswith("#"):
            found.setdefault(canonical(line.split("==")[0]), []).append(line)
    return found


def without(lock: str, provided: Iterable[str]) -> dict[str, list[str]]:
    """The pins of the packages that the system does not provide."""
    return {name: lines for name, lines in pins(lock).items() if name not in set(provided)}


def missing_after(pip_check: str, lock: str, added: Iterable[str]) -> set[str]:
    """Packages of the lock that must replace the system's after all, from what `pip check` printed.

    A package that we added wants another version of one of the system's: that one is replaced. A package of the
    system does not accept a version that we added: it is replaced itself.
    """
    locked, ours = set(pins(lock)), set(added)
    replace = set()
    for match in filter(None, map(CONFLICT.match, pip_check.splitlines())):
        user, used = canonical(match["user"]), canonical(match["used"])
        replace.add(used if user in ours else user)
    return (replace & locked) - ours
