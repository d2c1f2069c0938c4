"""`.npz`: one array of an archive, stored as it is or compressed."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from isotropy.io.checks import check_size, choose, unusable
from isotropy.io.formats import Format
from isotropy.io.formats.npy import HEADER_LIMIT, NpyHeader, read_header, write_npy
from isotropy.io.plain import PlainRows
from isotropy.io.ranges import Ranges
from isotropy.io.target import Target
from isotropy.rows.source import ArrayRows, Rows
from isotropy.storage.errors import FileError, damage

__all__ = ["NPZ", "read_npz", "write_npz"]

_PIECE = 2**20
_MOST_DEFLATED = 1033
"""Bytes that a byte can stand for in what numpy's compression makes, at the very most."""

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # of an encrypted member
    ValueError,
)


def read_npz(file: Ranges, column: str | None) -> Rows:
    """The rows of one array of a `.npz` archive, a block at a time.

    The checksum of the archive is checked before the last rows are handed out. A compressed array
    in Fortran order is read into memory: its rows are complete only at the end.
    """
    with damage(file, ".npz", *_ZIP_ERRORS), zipfile.ZipFile(file.open()) as archive:
        members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        headers = {name: _read_member_header(file, archive, members[name]) for name in members}
    problems = {name: unusable(header.shape, header.dtype) for name, header in headers.items()}
    name = choose(file, column, "array", problems)
    header, info = headers[name], members[name]
    check_size(file, header.shape, header.dtype, info.file_size - header.size)
    if info.compress_type == zipfile.ZIP_STORED:
        return _StoredRows(file, name, header, info)
    if info.file_size > _MOST_DEFLATED * max(1, info.compress_size):
        raise FileError(
            file,
            f"array {name!r} would be {info.file_size} bytes out of {info.compress_size}: damaged.",
        )
    rows = _CompressedRows(file, name, header, info)
    return ArrayRows(file, name, rows.read_whole()) if header.fortran else rows


class _StoredRows(PlainRows):
    """Rows of a member that is stored as it is: a pass over them ends with its checksum."""

    def __init__(self, file: Ranges, name: str, header: NpyHeader, info: zipfile.ZipInfo) -> None:
        start = _start_of_member(file, info)
        self._start, self._length, self._sum = start, info.file_size, info.CRC
        offset = start + header.size
        super().__init__(file, name, header.shape, header.dtype, offset, fortran=header.fortran)

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n, found = self.shape[0], None
        if start == 0 and not self._fortran:
            found = zlib.crc32(self.file.read_at(self._start, self._offset - self._start))
        for first in range(start, n, block_rows):
            stop = min(first + block_rows, n)
            stored = self._read(first, stop)
            if found is not None:
                found = zlib.crc32(stored.data, found)
            if stop == n:
                self._check(self._summed() if found is None else found)
            yield self._decoded(stored, first)

    def _summed(self) -> int:
        """The checksum of all bytes, where a pass did not see them in their order."""
        found, end = 0, self._start + self._length
        for place in range(self._start, end, _PIECE):
            found = zlib.crc32(self.file.read_at(place, min(_PIECE, end - place)), found)
        return found

    def _check(self, found: int) -> None:
        if found != self._sum:
            raise FileError(
                self.path,
                f"array {self.name!r} is damaged: its bytes do not have the checksum that the "
                "archive keeps of them. Write or fetch it again.",
            )


class _CompressedRows(Rows):
    """Rows of a compressed member, decompressed a block at a time."""

    def __init__(self, file: Ranges, name: str, header: NpyHeader, info: zipfile.ZipInfo) -> None:
        super().__init__(file, name, (header.shape[0], header.shape[1]), header.dtype)
        self._header = header
        self._info = info

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        n, d = self.shape
        # Seeking in a compressed member reads, in small pieces, what lies before.
        with self._member(start * d * self._header.dtype.itemsize) as member:
            for first in range(start, n, block_rows):
                rows = min(block_rows, n - first)
                numbers = self._read_numbers(member, rows * d, last=first + rows == n)
                yield numbers.reshape(-1, d).astype(self.dtype, copy=False)

    def read_whole(self) -> np.ndarray:
        with self._room(), self._member(0) as member:
            numbers = self._read_numbers(member, self.shape[0] * self.shape[1], last=True)
        return numbers.reshape(self.shape, order="F")

    @contextmanager
    def _member(self, offset: int) -> Iterator[IO[bytes]]:
        """The member, open at its numbers' byte `offset`."""
        with (
            damage(self.path, ".npz", *_ZIP_ERRORS),
            zipfile.ZipFile(self.file.open()) as archive,
            archive.open(self._info) as member,
        ):
            member.seek(self._header.size + offset)
            yield member

    def _read_numbers(self, member: IO[bytes], count: int, *, last: bool) -> np.ndarray:
        wanted = count * self._header.dtype.itemsize
        data = member.read(wanted)
        if last:
            member.read(1)  # only at the very end the checksum is compared
        if len(data) < wanted:
            raise FileError(self.path, f"array {self.name!r} ends before its last row.")
        return np.frombuffer(data, self._header.dtype)


def _read_member_header(file: Ranges, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpyHeader:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileError(file, f"{info.filename} is compressed otherwise than numpy does.")
    with archive.open(info) as member:
        return read_header(file, member.read(HEADER_LIMIT))


def _start_of_member(file: Ranges, info: zipfile.ZipInfo) -> int:
    """Where the bytes of an uncompressed member begin; `zipfile` has checked its local header."""
    lengths = struct.unpack("<HH", file.read_at(info.header_offset + 26, 4))
    start: int = info.header_offset + 30 + sum(lengths)
    if start + info.file_size > file.size:
        raise FileError(file, "the archive is truncated; write or fetch it again.")
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
