"""Corrected rows into a folder: a file for each file read, those that are finished left alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.io import FileError, Rows
from isotropy.io.formats import writable
from isotropy.jobs._files import Apply, check_not_read, shards_of, write_file
from isotropy.rows.arrays import output_dtype
from isotropy.storage.whole import whole_file

__all__ = ["write_folder"]

_RECORD = "_isotropy.json"


def write_folder(
    rows: Rows,
    folder: Path,
    column: str | None,
    apply: Apply,
    k: int,
    job: str,
    progress: Callable[[int], object] | None,
) -> None:
    """Write a file of corrected rows for each file read; the same call goes on where it stopped."""
    shards = shards_of(rows)
    targets = _targets(shards, rows, folder)
    folder.mkdir(parents=True, exist_ok=True)
    record, first = _read_record(folder / _RECORD), 0
    for shard, target in zip(shards, targets, strict=True):
        key, done = str(target.relative_to(folder)), _mark(job, shard, column)
        if record.get(key) != done or not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_file(
                shard,
                target,
                column,
                _shifted(apply, first),
                k,
                output_dtype(np.empty(0, shard.dtype)),
                None if progress is None else _reporting(progress, first),
            )
            record[key] = done
            with whole_file(folder / _RECORD) as file:
                file.write(json.dumps(record, indent=1).encode())
        first += shard.shape[0]


def _targets(shards: list[Rows], rows: Rows, folder: Path) -> list[Path]:
    """Where each shard goes: the tree that is read, again in the folder."""
    named = [Path(shard.path).absolute() for shard in shards]
    if not all(path.exists() for path in named):  # a table of a server, a dataset in memory
        named = [Path.cwd() / "rows"]
    base = Path(os.path.commonpath([path.parent for path in named]))
    read = Path(rows.path)
    inside = read.is_dir() and folder.resolve().is_relative_to(read.resolve())
    if named[0].exists() and (inside or base == folder.absolute()):
        raise FileError(folder, f"lies in the folder that is read, {read}; name another.")
    suffixes, targets = writable(), []
    for place in named:
        relative = place.relative_to(base)
        if relative.suffix.lower() not in suffixes:
            relative = relative.with_name(relative.name + ".npy")
        targets.append(folder / relative)
        check_not_read(rows, targets[-1])
    if twice := next((path for path in targets if targets.count(path) > 1), None):
        raise FileError(twice, "would be written for two files that are read; rename one of them.")
    return targets


def _read_record(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        record: dict[str, str] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise FileError(path, f"is damaged ({error}); delete it.") from error
    return record


def _mark(job: str, shard: Rows, column: Any) -> str:
    """What tells that a file is finished: this map, of this file as it is now."""
    text = json.dumps([job, shard.fingerprint(), column], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _shifted(apply: Apply, first: int) -> Apply:
    return lambda block, row: apply(block, first + row)


def _reporting(progress: Callable[[int], object], first: int) -> Callable[[int], object]:
    return lambda row: progress(first + row)
