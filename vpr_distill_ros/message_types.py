"""Message types by their names: their classes, and the definitions that a bag holds beside their bytes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from vpr_core.errors import InputError

_FIELD = re.compile(r"^\s*([A-Za-z]\w*(?:/\w+)?)(?:<=\d+)?(?:\[[^\]]*\])?\s+[a-z]\w*\s*(?:#.*)?$")
_PLAIN = re.compile(r"bool|byte|char|w?string|float\d+|u?int\d+")


def message_class(kind: str) -> Any:
    """The class of a type such as "sensor_msgs/msg/Image"; raises InputError where its package is not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{kind} cannot be used here ({error}): install {package}") from error


def definitions(kind: str) -> dict[str, str]:
    """The .msg text of a type and of all that it consists of, from the ament index.

    Raises InputError where one of them is not in it.
    """
    found: dict[str, str] = {}
    wanted = [kind]
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _text(name)
            wanted += _parts(found[name], name.partition("/")[0])
    return found


def _text(kind: str) -> str:
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    package, _, name = kind.partition("/msg/")
    try:
        return (Path(get_package_share_directory(package)) / "msg" / f"{name}.msg").read_text()
    except (PackageNotFoundError, OSError) as error:
        raise InputError(f"the definition of {kind} is not in the ament index ({error})") from error


def _parts(text: str, package: str) -> list[str]:
    """Types of the fields that are messages themselves."""
    kinds = {found[1] for line in text.splitlines() if (found := _FIELD.match(line))}
    parts = sorted(kind for kind in kinds if not _PLAIN.fullmatch(kind))
    return [kind.replace("/", "/msg/") if "/" in kind else f"{package}/msg/{kind}" for kind in parts]
