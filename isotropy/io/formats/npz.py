"""`.npz`: one array of an archive, mapped where it is stored as it is."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from isotropy.io.checks import check_size, choose, map_rows, unusable
from isotropy.io.formats import Format
from isotropy.io.formats.npy import NpyHeader, read_header, write_npy
from isotropy.io.target import Target
from isotropy.rows.source import ArrayRows, Rows
from isotropy.storage.errors import FileError, damage

__all__ = ["NPZ", "read_npz", "write_npz"]

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # of an encrypted member
    ValueError,
)


def read_npz(path: Path, column: str | None) -> Rows:
    """The rows of one array of a `.npz` archive: mapped if stored as is, streamed if compressed.

    A compressed array in Fortran order is read into memory: its rows are complete only at the end.
    """
    with damage(path, ".npz", *_ZIP_ERRORS), zipfile.ZipFile(path) as archive:
        members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        headers = {name: _read_member_header(path, archive, members[name]) for name in members}
    problems = {name: unusable(header.shape, header.dtype) for name, header in headers.items()}
    name = choose(path, column, "array", problems)
    header, info = headers[name], members[name]
    check_size(path, header.shape, header.dtype, info.file_size - header.size)
    if info.compress_type == zipfile.ZIP_STORED:
        start = _start_of_member(path, info) + header.size
        array = map_rows(path, header.shape, header.dtype, start, fortran=header.fortran)
        return ArrayRows(path, name, array)
    rows = _CompressedRows(path, name, header, info)
    return ArrayRows(path, name, rows.read_whole()) if header.fortran else rows


class _CompressedRows(Rows):
    """Rows of a compressed member, decompressed a block at a time."""

    def __init__(self, path: Path, name: str, header: NpyHeader, info: zipfile.ZipInfo) -> None:
        super().__init__(path, name, (header.shape[0], header.shape[1]), header.dtype)
        self._header = header
        self._info = info

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n, d = self.shape
        with (
            damage(self.path, ".npz", *_ZIP_ERRORS),
            zipfile.ZipFile(self.path) as archive,
            archive.open(self._info) as member,
        ):
            # Seeking in a compressed member reads, in small pieces, what lies before.
            member.seek(self._header.size + start * d * self._header.dtype.itemsize)
            for first in range(start, n, block_rows):
                numbers = self._read_numbers(member, min(block_rows, n - first) * d)
                yield numbers.reshape(-1, d).astype(self.dtype, copy=False)

    def read_whole(self) -> np.ndarray:
        with (
            damage(self.path, ".npz", *_ZIP_ERRORS),
            zipfile.ZipFile(self.path) as archive,
            archive.open(self._info) as member,
        ):
            member.read(self._header.size)
            numbers = self._read_numbers(member, self.shape[0] * self.shape[1])
        return numbers.reshape(self.shape, order="F")

    def _read_numbers(self, member: IO[bytes], count: int) -> np.ndarray:
        wanted = count * self._header.dtype.itemsize
        data = member.read(wanted)
        if len(data) < wanted:
            raise FileError(self.path, f"array {self.name!r} ends before its last row.")
        return np.frombuffer(data, self._header.dtype)


def _read_member_header(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpyHeader:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileError(path, f"{info.filename} is compressed otherwise than numpy does.")
    with archive.open(info) as member:
        return read_header(path, member)


def _start_of_member(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of an uncompressed member begin; `zipfile` has checked its local header."""
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", file.read(4))
    start: int = info.header_offset + 30 + name_length + extra_length
    if start + info.file_size > path.stat().st_size:
        raise FileError(path, "the archive is truncated; write or fetch it again.")
    return start


@contextmanager
def write_npz(file: IO[bytes], target: Target) -> Iterator[Callable[[np.ndarray], object]]:
    """A function that appends blocks to the only array of a new, uncompressed `.npz` file."""
    with (
        zipfile.ZipFile(file, "w") as archive,
        archive.open(zipfile.ZipInfo(f"{target.column}.npy"), "w", force_zip64=True) as member,
        write_npy(member, target) as write,
    ):
        yield write


NPZ = Format(read_npz, write_npz)
