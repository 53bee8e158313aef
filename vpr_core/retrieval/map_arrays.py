"""Arrays that are stored with a place map, in a file of its folder: one line of JSON, and the bytes after it.

The line is filled up with blanks, so that what follows is aligned and can be mapped into memory. It names the map that
the file belongs to and carries the sha256 of itself and of the rest.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

from vpr_core.errors import MapError
from vpr_core.files import sha256_json, write_atomic

_ALIGN = 64
_LONGEST_HEADER = 1 << 16


def write_map_arrays(path: Path, header: dict[str, Any], body: bytes) -> Path:
    """Write a file with `header` (with `schema` and `map_hash`) and `body`; an older one stays until all is written."""
    line = json.dumps({**header, "sha256": _hash(header, io.BytesIO(body))}).encode()
    line = line.ljust(-(-(len(line) + 1) // _ALIGN) * _ALIGN - 1) + b"\n"
    write_atomic(path, line + body)
    return path


def read_map_arrays(
    path: Path, schema: int, map_hash: str, absent: str, made_by: str, otherwise: str = ""
) -> tuple[dict[str, Any], int]:
    """The header of a file that was checked as a whole, and where what follows it begins [bytes].

    absent: what the map's folder lacks without the file. made_by: the command that makes it. otherwise: what else would
    help where it is absent.
    Raises MapError where it is absent, damaged, of another schema or of another map.
    """
    again = f"make it again with `{made_by}`"
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_HEADER)
            header = json.loads(line)
            whole = isinstance(header, dict) and header.pop("sha256", None) == _hash(header, file)
    except FileNotFoundError:
        raise MapError(f"{path.parent} has {absent}: make the map with `{made_by}`{otherwise}") from None
    except (OSError, ValueError) as error:
        raise MapError(f"{path} is damaged ({error}); {again}") from error
    if not whole:
        raise MapError(f"{path} is damaged: its content does not match its hash; {again}")
    if header.get("schema") != schema:
        raise MapError(f"{path} has schema {header.get('schema')}, this version reads {schema}; {again}")
    if header["map_hash"] != map_hash:
        raise MapError(f"{path} belongs to map {header['map_hash']}, this one is {map_hash}: {again}")
    return header, len(line)


def _hash(header: dict[str, Any], rest: BinaryIO) -> str:
    """SHA-256 of the header and of what follows it, read piece by piece."""
    digest = hashlib.sha256(sha256_json(header).encode())
    while piece := rest.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
