"""Writing files so that a kill at any moment leaves the old state or the new one, never a mixture.

A folder of this package is described by one manifest (JSON). Data files carry the start of their own hash in their
name, so that new ones never overwrite those that the old manifest names; replacing the manifest is the one atomic
step, and what only the old manifest named is removed afterwards.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vpr_core.errors import VprError

MANIFESTS = {
    "card.json": "frames, made by `vpr-distill ingest`",
    "split.json": "a split of frames, made by `vpr-distill split`",
    "dataset.json": "a data set's frames by run in train and test, made by `vpr-distill prepare`",
    "checkpoint.json": "a checkpoint, made by `vpr-distill train`",
    "bundle.json": "a bundle, made by `vpr-distill export`",
    "map.json": "a place map, made by `vpr-distill map`",
}


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hash of a JSON value, independent of the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` under `path`; a reader sees the old file or the whole new one. OSErrors pass through."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_manifest(
    folder: Path, name: str, schema: int, error: type[VprError], made_by: str, keys: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The JSON manifest `name` of `folder`, its schema version and `keys` checked; raises `error`.

    Where a kill left the folder under the name that it has while another takes its place, it gets its own back.
    """
    path = folder / name
    restore(folder)
    if folder.is_file():
        raise error(f"{folder} is a file, expected a folder with {name}, made by `{made_by}`")
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise error(f"{folder} {_what_is(folder)}: expected a folder with {name}, made by `{made_by}`") from None
    except (OSError, ValueError) as cause:
        raise error(f"{path} cannot be read ({cause}); make the folder again with `{made_by}`") from cause
    if not isinstance(manifest, dict) or manifest.get("schema") != schema:
        came = manifest.get("schema") if isinstance(manifest, dict) else None
        raise error(f"{path} has schema {came}, this version reads {schema}; make it again with `{made_by}`")
    require_keys(path, manifest, keys, error, made_by)
    return manifest


def require_keys(
    path: Path, manifest: dict[str, Any], keys: tuple[str, ...], error: type[VprError], made_by: str
) -> None:
    """Raise `error` where the manifest, read from `path`, lacks one of `keys`."""
    if missing := [key for key in keys if key not in manifest]:
        raise error(f"{path} lacks {', '.join(missing)}; make it again with `{made_by}`")


def _what_is(folder: Path) -> str:
    if not folder.is_dir():
        return "does not exist"
    held = [f"holds {what}" for name, what in MANIFESTS.items() if (folder / name).exists()]
    if held:
        return held[0]
    if (folder / "metadata.yaml").exists():
        return "is a bag, which `vpr-distill ingest` makes frames of"
    inner = sorted(path.parent.name for name in MANIFESTS for path in folder.glob(f"*/{name}"))
    return f"is the folder above {', '.join(inner[:4])}" if inner else "is empty or something else"


def commit(
    folder: Path, manifest_name: str, files: dict[str, bytes], manifest: Callable[[dict[str, str]], Any]
) -> None:
    """Write data files and then the manifest that names them.

    files: contents by plain name ("descriptors.npy"); each is stored as "descriptors-<hash>.npy".
    manifest: takes {plain name: stored name} and returns the JSON value to store.
    Raises VprError where the folder holds something of another kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if others := [name for name in MANIFESTS if name != manifest_name and (folder / name).exists()]:
        raise VprError(f"{folder} holds {others[0]} ({MANIFESTS[others[0]]}): choose another folder")
    stored: dict[str, str] = {}
    written: list[Path] = []
    try:
        for name, data in files.items():
            path = Path(name)
            stored[name] = f"{path.stem}-{sha256_bytes(data)[:12]}{path.suffix}"
            target = folder / stored[name]
            if not target.exists():
                written.append(target)
            write_atomic(target, data)
        write_json(folder / manifest_name, manifest(stored))
    except OSError:  # before the manifest was replaced; an interrupt could come after, and is tidied up next time
        for path in written:
            path.unlink(missing_ok=True)
        raise
    _remove_others(folder, files, set(stored.values()))


def _remove_others(folder: Path, files: dict[str, bytes], keep: set[str]) -> None:
    for name in files:
        path = Path(name)
        for old in folder.glob(f"{path.stem}-{'[0-9a-f]' * 12}{path.suffix}"):
            if old.name not in keep:
                old.unlink(missing_ok=True)


def read_checked(folder: Path, stored_name: str, error: type[VprError], made_by: str) -> bytes:
    """A data file whose content must match the hash in its name; raises `error` where it is absent or damaged."""
    path = folder / stored_name
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise error(f"{path} cannot be read ({cause.strerror}); make the folder again with `{made_by}`") from cause
    if sha256_bytes(data)[:12] != path.stem.rpartition("-")[2]:
        raise error(
            f"{path} is damaged: its content does not match the hash in its name; make it again with `{made_by}`"
        )
    return data


@contextmanager
def folder_in_the_making(
    target: Path,
    error: type[VprError],
    marker: str,
    overwrite: bool = False,
    work: str | None = None,
    keeps_errors: bool = False,
) -> Iterator[Path]:
    """A hidden folder beside `target` that takes its place when the block ends well and is removed when it does not.

    work: names what is being made, for work that can be taken up again. What a kill or an interrupt left of the same
    work is then handed out as it is; a VprError, which would come again, and a full disk remove it.
    keeps_errors: they do not either, where something is in it: for work that can go on when its cause is mended.
    Raises `error` where `target` exists and is not empty, unless `overwrite`; and then only a folder that holds the
    file `marker` is replaced, so that a slip of the hand does not cost somebody their data.
    """
    restore(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if not overwrite:
            raise error(f"{target} exists already: choose another folder or pass --overwrite")
        if not (target / marker).is_file():
            raise error(f"{target} is not replaced: without {marker} in it, it is something else")
    partial = _partial(target, work)
    try:
        yield partial
    except BaseException as stopped:
        in_vain = isinstance(stopped, (VprError, OSError)) and not (keeps_errors and _has_begun(partial))
        if work is None or in_vain:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    (partial / _WORK).unlink(missing_ok=True)
    _swap_in(partial, target)


_WORK = ".work"


def _partial(target: Path, work: str | None) -> Path:
    partial = target.parent / f".{target.name}.partial"
    if work is not None and (partial / _WORK).is_file() and (partial / _WORK).read_text() == work:
        return partial
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if work is not None:
        write_atomic(partial / _WORK, work.encode())
    return partial


def _has_begun(partial: Path) -> bool:
    return any(path.name != _WORK for path in partial.iterdir())


def restore(target: Path) -> None:
    """Undo the first half of a swap that was killed before its second."""
    old = _old(target)
    if old.exists() and not target.exists():
        with suppress(OSError):  # another process was faster, or this one may not
            old.rename(target)


def _old(target: Path) -> Path:
    return target.parent / f".{target.name}.old"


def _swap_in(partial: Path, target: Path) -> None:
    old = _old(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists() and _exchange(partial, target):
        shutil.rmtree(partial, ignore_errors=True)
        return
    while True:
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
            break
        except OSError as error:  # whoever read just now has put the old one back
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot. Linux's renameat2."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return call(_HERE, os.fsencode(one.resolve()), _HERE, os.fsencode(other.resolve()), _RENAME_EXCHANGE) == 0


_HERE, _RENAME_EXCHANGE = -100, 2
"""AT_FDCWD, which absolute paths do not use, and the flag of linux/fs.h."""
