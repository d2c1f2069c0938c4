"""Many files as one: lists of files, patterns, folders."""

from __future__ import annotations

import glob
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isotropy.io.folders import is_hidden, is_rows
from isotropy.io.formats import open_file
from isotropy.io.sources import Source, as_folder, is_table, table_source
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError, NoRowsError
from isotropy.tables import FORMATS

__all__ = [
    "FILES",
    "FOLDER",
    "PATTERN",
    "ShardedRows",
    "expand",
    "in_folder",
    "is_pattern",
    "no_rows",
    "shards_of",
]


class ShardedRows(Rows):
    """The rows of several files, one behind the other.

    Attributes
    ----------
    shards : list of Rows
        Those that hold rows.
    listed : bool
        Whether the files were given one by one: a file that comes into the folder is not read.
    """

    listed = False

    def __init__(self, path: Path, shards: Sequence[Rows]) -> None:
        first = shards[0]
        d = first.shape[1]
        for shard in shards:
            if shard.shape[1] != d:
                raise FileError(
                    shard.path,
                    f"has {shard.shape[1]} dimensions, but {first.path} has {d}: they are not "
                    "parts of one whole.",
                )
        self.shards = list(shards)
        self._starts = np.cumsum([0, *(shard.shape[0] for shard in shards)]).tolist()
        dtype = np.result_type(*(shard.dtype for shard in shards))
        super().__init__(path, first.name, (self._starts[-1], d), dtype)

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        """Blocks of the shards; those of small shards are joined, for each block costs time."""
        held: list[np.ndarray] = []
        for block in self._single(block_rows, start):
            if held and sum(map(len, held)) + len(block) > block_rows:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held = []
            held.append(block)
        if held:
            yield held[0] if len(held) == 1 else np.concatenate(held)

    def _single(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        for shard, begin in zip(self.shards, self._starts, strict=False):
            if begin + shard.shape[0] <= start:
                continue
            for block in shard.blocks(block_rows, start=max(0, start - begin)):
                yield block.astype(self.dtype, copy=False)

    def locate(self, row: int) -> str:
        """The shard of a row and the row's number in it."""
        index = min(bisect_right(self._starts, row), len(self.shards)) - 1
        return f" (row {row - self._starts[index]} of {self.shards[index].path})"

    def fingerprint(self) -> list[Any]:
        """Those of all shards."""
        return [str(self.path), *(shard.fingerprint() for shard in self.shards)]

    def check_unchanged(self) -> None:
        """Raise a `FileError` if one of the files has grown or changed."""
        for shard in self.shards:
            shard.check_unchanged()


def shards_of(
    path: Path, files: Sequence[Path], column: str | None, read: Any = None
) -> ShardedRows:
    """The rows of all files and tables, each opened by `read(file, column)`.

    What holds no rows is skipped: frameworks write an empty file for each partition without rows.
    """
    opened: list[Rows] = []
    empty: NoRowsError | None = None
    for file in files:
        try:
            rows = (read or _open)(file, column)
            opened.extend(getattr(rows, "shards", [rows]))
        except NoRowsError as error:
            empty = empty or error
    if not opened:
        raise empty or FileError(path, "holds no file of embeddings.")
    filled = [rows for rows in opened if rows.shape[0]]
    return ShardedRows(path, filled or opened[:1])


def _open(path: Path, column: str | None) -> Rows:
    source = table_source(path)
    rows: Rows = source.read(path, column) if source else open_file(path, column)
    return rows


def is_pattern(given: Any) -> bool:
    """Whether this is a glob pattern, and no file of that very name."""
    return isinstance(given, str | os.PathLike) and (
        glob.has_magic(os.fspath(given)) and not Path(given).exists()
    )


def _read_pattern(pattern: Any, column: str | None) -> Rows:
    return shards_of(Path(pattern), expand(os.fspath(pattern)), column)


def _is_list(given: Any) -> bool:
    """Whether this is a list of paths."""
    return isinstance(given, list | tuple) and all(
        isinstance(item, str | os.PathLike) for item in given
    )


def _read_list(given: Sequence[Any], column: str | None) -> Rows:
    if not given:
        raise ValueError("source is an empty list: no file to open.")
    files = [file for item in given for file in _parts(Path(item))]
    rows = shards_of(Path(given[0]).parent, files, column)
    rows.listed = True
    return rows


def _read_folder(given: Any, column: str | None) -> Rows:
    path = Path(given)
    files = in_folder(path)
    if not files:
        raise FileError(path, no_rows())
    return shards_of(path, files, column)


def expand(pattern: str) -> list[Path]:
    """The files and tables that a pattern (``**`` included) names, in natural order.

    A folder that it names stands for the files in it. Names that begin with a dot or an underscore
    are left out, but where the pattern itself has such a name.
    """
    asked = {part[0] for part in Path(pattern).parts}
    fixed = next(i for i, part in enumerate(Path(pattern).parts) if glob.has_magic(part))
    found: set[Path] = set()
    for name in glob.glob(pattern, recursive=True):
        path = Path(name)
        if not any(is_hidden(part) and part[0] not in asked for part in path.parts[fixed:]):
            found.update(_parts(path))
    tables = {path for path in found if path.is_dir()}
    files = [path for path in found if not tables.intersection(path.parents)]
    if not files:
        raise FileError(pattern, "no file matches this pattern.")
    return sorted(files, key=natural)


def _parts(path: Path) -> list[Path]:
    """A file or table is its own part, a folder has many."""
    return [path] if not path.is_dir() or is_table(path) else in_folder(path)


def no_rows() -> str:
    """What is wrong with a folder without a file of rows."""
    known = sorted(suffix for suffix in FORMATS if is_rows(f"rows{suffix}"))
    return f"is a folder without a file of {', '.join(known)}."


def in_folder(folder: Path) -> list[Path]:
    """All files of embeddings and tables below a folder, in natural order: 9 before 10.

    Hidden ones and those named ``_...`` are left out.
    """
    found = []
    for place, folders, files in os.walk(folder):
        inner = [Path(place, name) for name in folders if not is_hidden(name)]
        tables = [path for path in inner if is_table(path)]
        folders[:] = [path.name for path in inner if path not in tables]
        found += tables + [Path(place, name) for name in files if is_rows(name)]
    return sorted(found, key=natural)


def natural(path: Path) -> list[Any]:
    """A key that sorts numbers in names by their value."""
    pieces = re.split(r"(\d+)", str(path))
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]


FILES = Source(_is_list, _read_list)
PATTERN = Source(is_pattern, _read_pattern)
FOLDER = Source(lambda given: as_folder(given) is not None, _read_folder)
