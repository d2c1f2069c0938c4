"""A file or folder that may hold a task, read once for all kinds of task that look at it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from isotropy.storage.errors import FileError

__all__ = ["LABEL", "LEFT", "RIGHT", "SCORE", "TEXT", "Line", "TaskFile", "numbers", "objects"]

LEFT = ("sentence1", "#1 string", "text1", "question1", "left")
RIGHT = ("sentence2", "#2 string", "text2", "question2", "right")
SCORE = ("score", "similarity", "gold")
LABEL = ("quality", "label", "is_duplicate", "class", "coarse", "labels")
TEXT = ("text", "sentence", "texts")


class Line(NamedTuple):
    """The fields of a line, and its number in the file, from 1."""

    number: int
    fields: list[str]


class TaskFile:
    """A path, and the table in it: tab-separated without quotes, or comma-separated with them.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def lines(self) -> list[Line]:
        """All lines that are not blank; none of a folder."""
        if self.path.is_dir():
            return []
        found = [line for line in _lines(self.path) if any(map(str.strip, line.fields))]
        if not found:
            raise FileError(self.path, "is empty.")
        return found

    @cached_property
    def names(self) -> list[str]:
        """The fields of the first line, as names of columns."""
        return [name.strip().lower() for name in self.lines[0].fields] if self.lines else []

    def has(self, *columns: Sequence[str]) -> bool:
        """Whether a column goes by one of the names, for each of the tuples of names."""
        return all(self._place(known) is not None for known in columns)

    def column(self, known: Sequence[str]) -> list[str]:
        """The column of one of these names."""
        place = self._place(known)
        assert place is not None
        return self.fields(self.lines[1:], place)

    def numbers(self, known: Sequence[str]) -> list[float]:
        """The column of one of these names, as numbers."""
        return numbers(self.path, self.lines[1:], self.column(known))

    def fields(self, lines: Sequence[Line], place: int) -> list[str]:
        """A field of each line."""
        for line in lines:
            if len(line.fields) <= place:
                raise FileError(
                    self.path,
                    f"line {line.number} has {len(line.fields)} columns; {place + 1} are needed.",
                )
        return [line.fields[place] for line in lines]

    def _place(self, known: Sequence[str]) -> int | None:
        return next((self.names.index(name) for name in known if name in self.names), None)


def numbers(path: Path, lines: Sequence[Line], texts: Sequence[str]) -> list[float]:
    """Texts as numbers; the line of one that is none is told."""
    found = []
    for line, text in zip(lines, texts, strict=True):
        try:
            found.append(float(text))
        except ValueError:
            raise FileError(path, f"line {line.number}: {text!r} is not a score.") from None
    return found


def _lines(path: Path) -> Iterator[Line]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        tabs = "\t" in file.readline()
        file.seek(0)
        if tabs:  # tab-separated files of this field do not quote
            for number, text in enumerate(file, 1):
                yield Line(number, text.rstrip("\r\n").split("\t"))
            return
        reader = csv.reader(file)
        try:
            for fields in reader:
                yield Line(reader.line_num, fields)
        except csv.Error as error:
            raise FileError(path, f"line {reader.line_num} cannot be read ({error}).") from None


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, with the numbers of the lines; blank ones are left out.

    Only a line feed ends a line: texts may hold Unicode's other separators.
    """
    if not path.is_file():
        raise FileError(path, "no such file.")
    for number, line in enumerate(path.read_text("utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise FileError(path, f"line {number} is not JSON ({error}).") from None
        if not isinstance(entry, dict):
            raise FileError(path, f"line {number}: no object with id and text.")
        yield number, entry
