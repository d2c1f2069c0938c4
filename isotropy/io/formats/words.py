"""Word vectors: word2vec (text and binary), GloVe and fastText, read as rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from isotropy.io.formats import ENCODE_FIRST, Format
from isotropy.io.ranges import Ranges
from isotropy.rows.source import Rows
from isotropy.storage.errors import FileError

__all__ = ["WORD2VEC", "WORD_TEXT", "WordRows", "read_word2vec", "read_word_text"]

_LONGEST_WORD = 4096
_LONGEST_LINE = 2**22
_LOOKED_AT = 20
_MOST_DIMENSIONS = 2**16


class WordRows(Rows):
    """Rows that have words beside them."""

    def words(self) -> Iterator[str]:
        """The words, in the order of the rows; bytes that are no UTF-8 are replaced."""
        for word, _ in self._entries(0):
            yield word.decode("utf-8", "replace")

    def _entries(self, start: int) -> Iterator[tuple[bytes, np.ndarray]]:
        raise NotImplementedError

    def _blocks(self, block_rows: int, start: int) -> Iterator[np.ndarray]:
        entries, left = self._entries(start), self.shape[0] - start
        while left:
            block = np.empty((min(block_rows, left), self.shape[1]), np.float32)
            for row in range(len(block)):
                block[row] = next(entries)[1]
            left -= len(block)
            if not left:
                next(entries, None)  # what follows the last row is looked at too
            yield block


def read_word_text(path: Ranges, column: str | None) -> Rows:
    """The vectors of a text file, a word and its numbers a line, with or without a first line.

    The first line of word2vec and fastText files, ``n d``, is checked against what follows; GloVe
    files have none. Words may hold spaces, as some of GloVe's do: the last d fields are numbers.
    """
    _no_column(path, column)
    with path.open() as file:
        first = _line(path, file, 0).split()
        header = _header(first)
        if header is None:
            # A word may hold spaces, so the width is that of the shortest of some lines.
            some = [first, *(file.readline(_LONGEST_LINE).split() for _ in range(_LOOKED_AT))]
            d, begin = min(len(fields) for fields in some if fields or fields is first) - 1, 0
        else:
            (_, d), begin = header, file.tell()
            fields = len(_line(path, file, 0).split())
            if header[0] and fields <= d:
                raise FileError(
                    path, f"row 0: {fields} fields, but the first line says a word and {d} numbers."
                )
        file.seek(begin)
        n, last = 0, b"\n"
        while piece := file.read(2**20):
            n += piece.count(b"\n")
            last = piece
        n += not last.endswith(b"\n")
    if header is not None and header[0] != n:
        raise FileError(
            path,
            f"its first line declares {header[0]} words, {n} lines follow: truncated, or two "
            "files in one.",
        )
    if not 1 <= d <= _MOST_DIMENSIONS:
        raise FileError(path, f"its first line is no word with numbers behind it. {ENCODE_FIRST}")
    rows = _TextRows(path, (n, d), begin)
    try:
        next(rows._entries(0), None)  # row 0 tells other kinds of text from vectors
    except FileError as error:
        raise FileError(path, f"{error.problem} {ENCODE_FIRST}") from None
    return rows


class _TextRows(WordRows):
    def __init__(self, path: Ranges, shape: tuple[int, int], begin: int) -> None:
        super().__init__(path, None, shape, np.dtype(np.float32))
        self._begin = begin

    def _entries(self, start: int) -> Iterator[tuple[bytes, np.ndarray]]:
        d = self.shape[1]
        with self.file.open() as file:
            file.seek(self._begin)
            for row in range(self.shape[0]):
                line = _line(self.path, file, row)
                if row < start:
                    continue
                fields = line.rsplit(None, d)
                if len(fields) == d and line[:1].isspace():
                    fields.insert(0, b"")  # a word of white space alone
                try:
                    if len(fields) != d + 1:
                        raise ValueError(f"{len(fields)} fields")
                    vector = np.array(fields[1:], dtype=np.float32)
                except ValueError as error:
                    raise FileError(
                        self.path, f"row {row} is not a word and {d} numbers ({error})."
                    ) from None
                yield fields[0], vector


def read_word2vec(path: Ranges, column: str | None) -> Rows:
    """The vectors of a binary word2vec file: ``n d``, then words, a space, and d float32 each."""
    _no_column(path, column)
    with path.open() as file:
        header = _header(file.readline(64).split())
        begin = file.tell()
    if header is None or not 1 <= header[1] <= _MOST_DIMENSIONS:
        raise FileError(path, "does not begin with a line 'n d', as binary word2vec files do.")
    n, d = header
    least, found = n * (1 + 4 * d), path.size - begin
    if found < least:
        raise FileError(
            path,
            f"declares {n} words of {d} float32 numbers, at least {least} bytes, but {found} bytes "
            "follow: truncated, or of another format.",
        )
    rows = _BinaryRows(path, (n, d), begin)
    if n:
        next(rows._entries(0))
    return rows


class _BinaryRows(WordRows):
    def __init__(self, path: Ranges, shape: tuple[int, int], begin: int) -> None:
        super().__init__(path, None, shape, np.dtype(np.float32))
        self._begin = begin

    def _entries(self, start: int) -> Iterator[tuple[bytes, np.ndarray]]:
        n, d = self.shape
        with self.file.open() as file:
            file.seek(self._begin)
            rest = b""
            for row in range(n):
                while (space := rest.find(b" ")) < 0:
                    more = file.read(2**16)
                    if not more or len(rest) > _LONGEST_WORD:
                        raise FileError(self.path, f"row {row}: no word; truncated or damaged.")
                    rest += more
                if space > _LONGEST_WORD:
                    raise FileError(self.path, f"row {row}: a word of {space} bytes; damaged.")
                end = space + 1 + 4 * d
                if len(rest) < end:
                    rest += file.read(max(2**16, end - len(rest)))
                if len(rest) < end:
                    raise FileError(self.path, f"row {row}: its vector is cut off; truncated.")
                if row >= start:
                    # Some writers end each vector with a line break, some do not.
                    yield rest[:space].lstrip(b"\n"), np.frombuffer(rest, "<f4", d, space + 1)
                rest = rest[end:]
            if (rest + file.read(2)).strip(b"\n"):
                raise FileError(self.path, f"holds more than the {n} words it declares; damaged.")


def _line(path: Any, file: IO[bytes], row: int) -> bytes:
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise FileError(path, f"row {row} is over {_LONGEST_LINE} bytes long; no word vectors.")
    return line.rstrip(b"\r\n")


def _header(fields: list[bytes]) -> tuple[int, int] | None:
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 18 for field in fields):
        return None
    return int(fields[0]), int(fields[1])


def _no_column(path: Ranges, column: str | None) -> None:
    if column is not None:
        raise FileError(path, f"word vectors have no columns; leave out column={column!r}.")


WORD2VEC = Format(read_word2vec, guessed=True)
WORD_TEXT = Format(read_word_text, guessed=True)
