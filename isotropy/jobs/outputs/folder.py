"""Corrected rows into a folder: a file for each file read, those that are finished left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from isotropy.io import FileError, Rows
from isotropy.io.formats import writable
from isotropy.jobs.outputs import Output, Written
from isotropy.jobs.outputs.file import check_not_read, shards_of, write_file
from isotropy.storage.whole import whole_file

__all__ = ["FolderOutput"]

_RECORD = "_isotropy.json"


class FolderOutput(Output):
    """A file for each file read; the same call goes on where it stopped."""

    @classmethod
    def recognizes(cls, rows: Rows, output: Any) -> bool:
        """Whether the name ends in a slash, or a folder is there."""
        if output is None:
            return False
        return os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()

    def check(self) -> None:
        """Refuse a folder that is read, and two files of one name."""
        self.shards = shards_of(self.plan.rows)
        self.targets = _targets(self.shards, self.plan.rows, self.plan.place)

    def write(self) -> None:
        """Write what is not finished."""
        plan, folder = self.plan, self.plan.place
        folder.mkdir(parents=True, exist_ok=True)
        record, first = _read_record(folder / _RECORD), 0
        for shard, target in zip(self.shards, self.targets, strict=True):
            part = plan.of(shard, first)
            key, done = str(target.relative_to(folder)), part.digest()
            if record.get(key) != done or not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                write_file(part, target)
                record[key] = done
                with whole_file(folder / _RECORD) as file:
                    file.write(json.dumps(record, indent=1).encode())
            first += shard.shape[0]

    def verify(self) -> Written:
        """What was written."""
        return Written(self.plan.shape, str(self.plan.output))


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
