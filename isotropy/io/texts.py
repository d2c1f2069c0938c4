"""Texts to encode: Python's own documentation, and one column of a text file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from isotropy._optional import require
from isotropy.io.ranges import LocalRanges

__all__ = ["documentation_sentences", "read_texts"]

SHORTEST, LONGEST = 20, 400
"""Characters of a sentence that `documentation_sentences` keeps."""

PROSE = 0.8
"""Least share of letters and spaces in such a sentence: below it stands code in disguise."""


def documentation_sentences(limit: int | None = None) -> list[str]:
    """Sentences of Python's own documentation, which every CPython carries.

    The source is `pydoc_data.topics`, the language reference as plain text. Headings, code,
    grammar and tables are left out, markup is removed and wrapped lines are joined.

    Parameters
    ----------
    limit : int or None, default=None
        Take the first `limit` sentences; all of them by default.

    Returns
    -------
    list of str
        Over two thousand different sentences of 20 to 400 characters: the same ones, in the
        same order, on every run of one Python version.

    Raises
    ------
    ValueError
        If `limit` is negative.

    Examples
    --------
    >>> from isotropy.io.texts import documentation_sentences
    >>> len(documentation_sentences(1000))
    1000
    """
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be at least 0, got {limit}; None takes all sentences.")
    from pydoc_data.topics import topics

    sentences = (
        sentence
        for name in sorted(topics)
        for block in re.split(r"\n\s*\n", topics[name].strip("\n"))
        for paragraph in _paragraphs(block.splitlines())
        for sentence in _split(_plain(paragraph))
        if _is_sentence(sentence)
    )
    found: dict[str, None] = {}
    for sentence in sentences:
        if len(found) == limit:
            break
        found[sentence] = None
    return list(found)


_BULLET = re.compile(r"(?:[*-]|\d+\.|\[\d+\]|\(\d+\))\s+")
_UNDERLINE = re.compile(r"([*=\-~^\"])\1{2,}")
_NOT_PROSE = re.compile(r"::=|>>>|^[+|]")


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """The paragraphs in lines without a blank one between: as a rule one, else list entries."""
    if any(_NOT_PROSE.search(line.lstrip()) for line in lines):
        return
    if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].strip()):
        return
    parts: list[str] = []
    above = ""
    for line in lines:
        text = line.strip()
        bullet = _BULLET.match(text)
        # A term or a signature ends where the text below it is set deeper.
        is_definition = _margin(line) > _margin(above) and not _BULLET.match(above.strip())
        if parts and (bullet or is_definition):
            yield " ".join(parts)
            parts = []
        parts.append(text[bullet.end() :] if bullet else text)
        above = line
    yield " ".join(parts)


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


_MARKUP = (
    (re.compile(r"\s+\[\d+\]"), ""),  # a footnote's mark
    (re.compile(r'(?<!\w)\*\*?([^\s*"]|[^\s*"][^*"]*[^\s*"])\*\*?(?!\w)'), r"\1"),  # emphasis
    (re.compile(r'"("[^"\s]*")"'), r"\1"),  # a quoted string set as code
    (
        re.compile(
            r"^(?:(?:New|Added|Changed) in version [\w.]+|Deprecated since version [\w.,\- ]+"
            r"|Note|Warning|Important|See also|CPython implementation detail): ?"
        ),
        "",
    ),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<=\w)- (?!and |or )(?=[a-z])"), "-"),  # a line that broke at a hyphen
)


def _plain(paragraph: str) -> str:
    """The paragraph without markup and without the label that opens a note."""
    for pattern, replacement in _MARKUP:
        paragraph = pattern.sub(replacement, paragraph)
    return paragraph.strip()


_STOP = re.compile(r"""[.!?][)"'”]*(?=\s+[("'“]*[A-Z]|$)""")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|Dr|Mr|Ms)|\.\.)\.$")


def _split(paragraph: str) -> Iterator[str]:
    """Cut a paragraph after each stop that a capital letter follows, bar abbreviations.

    What follows the last stop is no whole sentence and is left out.
    """
    start = 0
    for stop in _STOP.finditer(paragraph):
        sentence = paragraph[start : stop.end()].strip()
        if not _ABBREVIATION.search(sentence):
            yield sentence
            start = stop.end()


def _is_sentence(text: str) -> bool:
    """Whether this reads as a sentence: a few words, whole brackets and quotes, mostly letters."""
    prose = sum(character.isalpha() or character == " " for character in text)
    return (
        SHORTEST <= len(text) <= LONGEST
        and (text[0].isupper() or text[0] in '"“')
        and len(text.split()) >= 4
        and prose >= PROSE * len(text)
        and " # " not in text
        and text.count("(") == text.count(")")
        and text.count('"') % 2 == 0
    )


def read_texts(path: str | PathLike[str], column: str | None = None) -> Iterator[str]:
    r"""Read texts from a file, one after another, without holding the file.

    ========================== ===========================================================
    ``.txt``                   a text per line; an empty line is an empty text, so that text
                               `i` is line `i`
    ``.csv``                   a header and quoted fields (RFC 4180); blank lines are skipped
    ``.tsv``                   a header and fields between tabs; a quotation mark is text
    ``.jsonl``, ``.ndjson``    an object per line; blank lines are skipped
    ``.parquet``               a column of strings, read in batches (needs `isotropy[io]`)
    ========================== ===========================================================

    Text files are UTF-8, with or without a byte order mark.

    Parameters
    ----------
    path : str or path-like
        The file; its suffix says what it holds.
    column : str or None, default=None
        Which column holds the texts. May be left out where there is one column only.

    Returns
    -------
    iterator of str
        The texts in the file's order; none for an empty file.

    Raises
    ------
    ValueError
        For an unknown suffix, a column that is missing or not named, a value that is not a
        string, and a line or file that cannot be read. The message gives the path and the place.
        Faults inside the file show when the iterator reaches them.
    OSError
        If the file does not exist or may not be read.
    ImportError
        For ``.parquet`` without pyarrow.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "texts.csv")
    >>> _ = path.write_text("id,text\n1,A cat sat.\n2,Dogs bark.\n\n")
    >>> list(read_texts(path, column="text"))
    ['A cat sat.', 'Dogs bark.']
    >>> folder.cleanup()
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: texts are read from {', '.join(_READERS)} files, got {path.suffix!r}. "
            "Rename the file if it is one of these, or convert it."
        )
    path.stat()  # a missing file is told now, not after an encoder has been loaded
    return reader(path, column)


def _read_txt(path: Path, column: str | None) -> Iterator[str]:
    if column is not None:
        raise ValueError(f"{path}: a text file has no columns, got {column!r}. Leave it out.")
    return (line.rstrip("\n").removesuffix("\r") for line in _lines(path))


def _lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends. Only a line feed ends a line."""
    ranges = LocalRanges(path) if path.is_file() and path.stat().st_size else None
    with ranges.open() if ranges else path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}: line {number} is not UTF-8 (byte {error.object[error.start]:#04x} at "
                    f"position {error.start}). Save the file as UTF-8."
                ) from error
    if ranges:
        ranges.check_unchanged()


def _read_csv(path: Path, column: str | None) -> Iterator[str]:
    return _read_table(path, column, csv.reader(_lines(path), strict=True))


def _read_tsv(path: Path, column: str | None) -> Iterator[str]:
    rows = csv.reader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    return _read_table(path, column, rows)


def _read_table(path: Path, column: str | None, rows: Any) -> Iterator[str]:
    """One field of each row of a `csv.reader`."""
    try:
        header = next(rows, None)
        if header is None:
            return
        place = header.index(_choose(column, header, f"{path}"))
        for row in rows:
            if len(row) <= 1 < len(header) and not "".join(row).strip():
                continue  # a line without anything but spaces
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{path}: line {rows.line_num} has {len(row)} fields, the header has "
                    f"{len(header)}. Quote fields that hold a separator."
                )
            yield row[place]
    except csv.Error as error:
        raise ValueError(
            f"{path}: line {rows.line_num} cannot be read ({error}). Quote fields that hold a "
            "separator, a quotation mark or a line break."
        ) from error


def _read_jsonl(path: Path, column: str | None) -> Iterator[str]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.rstrip("\n"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}: line {number} is not JSON ({error.msg} at column {error.colno}). "
                "Write one object per line."
            ) from error
        if not isinstance(record, dict):
            raise ValueError(
                f"{path}: line {number} holds {_kind(record)}, not an object. "
                'Write lines such as {"text": "..."}.'
            )
        key = _choose(column, list(record), f"{path}: line {number}")
        yield _string(record[key], key, f"{path}: line {number}")


def _read_parquet(path: Path, column: str | None) -> Iterator[str]:
    pyarrow = require("pyarrow", extra="io")
    parquet = require("pyarrow.parquet", extra="io")
    try:
        with parquet.ParquetFile(path) as file:
            name = _choose(column, file.schema_arrow.names, f"{path}")
            row = 0
            for batch in file.iter_batches(columns=[name]):
                for value in batch.column(0).to_pylist():
                    yield _string(value, name, f"{path}: row {row}")
                    row += 1
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{path}: cannot be read as Parquet ({reason}). Was it written to the end?"
        ) from error


_READERS = {
    ".txt": _read_txt,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}


def _choose(column: str | None, names: list[str], where: str) -> str:
    """The column asked for, or the only one there is."""
    there = ", ".join(map(repr, names)) or "none"
    if column is None:
        if len(names) != 1:
            raise ValueError(f"{where} has the columns {there}; name the one that holds the texts.")
        return names[0]
    if names.count(column) != 1:
        how = "no" if column not in names else "more than one"
        raise ValueError(f"{where} has {how} column {column!r}. There are: {there}.")
    return column


def _string(value: Any, column: str, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(
            f"{where}, column {column!r} holds {_kind(value)}, not a string. "
            "Fill or drop such rows first."
        )
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {value!r:.40}"
