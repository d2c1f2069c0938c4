"""How many rows an Arrow file has, from its messages alone: Arrow itself reads all data for that.

Only as much of the format as that takes: a message is a flatbuffer's table, whose fields are found
by their numbers in `Message.fbs` and `File.fbs` of the Arrow project.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from isotropy.io.ranges import Ranges
from isotropy.storage.errors import damage

__all__ = ["rows_of_file", "rows_of_stream"]

_RECORD_BATCH = 3
_CONTINUES = 0xFFFFFFFF


class _Table:
    """A table of a flatbuffer: its fields by their numbers, 0 where one is left out."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def _get(self, kind: str, at: int) -> int:
        if at < 0:
            raise ValueError("a place before the begin")
        return int(struct.unpack_from(f"<{kind}", self._data, at)[0])

    def _place(self, field: int) -> int:
        names = self._at - self._get("i", self._at)
        slot = 4 + 2 * field
        offset = self._get("H", names + slot) if slot < self._get("H", names) else 0
        return self._at + offset if offset else 0

    def number(self, field: int, kind: str) -> int:
        place = self._place(field)
        return self._get(kind, place) if place else 0

    def table(self, field: int) -> _Table:
        place = self._place(field)
        return _Table(self._data, place + self._get("I", place))

    def structs(self, field: int, kind: str) -> Iterator[tuple[Any, ...]]:
        place = self._place(field)
        if place:
            place += self._get("I", place)
            count, size = self._get("I", place), struct.calcsize(kind)
            if count * size > len(self._data):
                raise ValueError("more entries than bytes")
            for i in range(count):
                yield struct.unpack_from(kind, self._data, place + 4 + i * size)


def _root(data: bytes) -> _Table:
    return _Table(data, struct.unpack_from("<I", data)[0])


def _rows(message: _Table) -> int:
    """Rows that a message brings: those of a record batch."""
    if message.number(1, "B") != _RECORD_BATCH:
        return 0
    rows = message.table(2).number(0, "q")
    if rows < 0:
        raise ValueError(f"a batch of {rows} rows")
    return rows


def rows_of_file(file: Ranges) -> int:
    """The rows of an Arrow file."""
    with damage(file, "Arrow", struct.error, ValueError):
        size = struct.unpack("<i", file.read_at(max(0, file.size - 10), 4))[0]
        footer = _root(file.read_at(file.size - 10 - size, size))
        return sum(
            _rows(_root(_metadata(file, offset)[0])) for offset, _, _ in footer.structs(3, "<qi4xq")
        )


def rows_of_stream(file: Ranges) -> int:
    """The rows of an Arrow stream."""
    at = rows = 0
    with damage(file, "Arrow", struct.error, ValueError):
        while at < file.size:
            data, at = _metadata(file, at)
            if not data:  # the mark of the end
                break
            message = _root(data)
            rows += _rows(message)
            body = message.number(3, "q")
            if body < 0:
                raise ValueError(f"a message of {body} bytes")
            at += body
    return rows


def _metadata(file: Ranges, at: int) -> tuple[bytes, int]:
    """What a message says of itself, and where its body begins; since 2019 it begins with ones."""
    (length,) = struct.unpack("<I", file.read_at(at, 4))
    at += 4
    if length == _CONTINUES:
        (length,) = struct.unpack("<I", file.read_at(at, 4))
        at += 4
    return file.read_at(at, length), at + length
