"""Tasks from files: STS and paraphrase pairs, labelled texts, and search collections."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isotropy.evaluate.tasks import (
    STS,
    Classification,
    Clustering,
    PairClassification,
    Retrieval,
    Task,
)
from isotropy.io import FileError

__all__ = ["read_task"]

_KINDS = ("sts", "pairs", "retrieval", "clustering", "classification")
_LEFT = ("sentence1", "#1 string", "text1", "question1", "left")
_RIGHT = ("sentence2", "#2 string", "text2", "question2", "right")
_SCORE = ("score", "similarity", "gold")
_LABEL = ("quality", "label", "is_duplicate", "class", "coarse", "labels")
_TEXT = ("text", "sentence", "texts")


def read_task(path: str | os.PathLike[str], kind: str | None = None) -> Task:
    """Read a task from a file or folder.

    Parameters
    ----------
    path : path
        - a folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`), as
          BEIR keeps them: retrieval;
        - pairs of texts, tab- or comma-separated with a first line of names (sentence1, sentence2
          and score: STS; #1 String, #2 String and Quality, or label: pair classification), or the
          STS benchmark's own columns without names;
        - labelled texts, with columns of names label (or class) and text: clustering; where
          `..._train` and `..._test` lie side by side, either name is also a classification.
    kind : {"sts", "pairs", "retrieval", "clustering", "classification"}, optional
        Where a file allows more than one.

    Raises
    ------
    isotropy.io.FileError
        If the file is missing, or not of such a form; the line is named.
    """
    path = Path(path)
    if kind is not None and kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, got {kind!r}.")
    if not path.exists():
        raise FileError(path, "no such file or folder.")
    try:
        task = _read(path, kind)
    except UnicodeDecodeError as error:
        raise FileError(path, f"is not UTF-8 text ({error}).") from error
    except OSError as error:
        raise FileError(path, f"could not be read ({error.strerror or error}).") from error
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(path, str(error)) from error
    if kind is not None and task.kind != kind:
        raise FileError(path, f"is a task of kind {task.kind!r}, not {kind!r}.")
    return task


def _read(path: Path, kind: str | None) -> Task:
    if path.is_dir():
        return _retrieval(path)
    rows = list(_lines(path))
    if not rows:
        raise FileError(path, "is empty.")
    names = [name.strip().lower() for name in rows[0]]
    left, right = _find(names, _LEFT), _find(names, _RIGHT)
    if left is not None and right is not None:
        return _pairs(path, rows, names, left, right, kind)
    text, label = _find(names, _TEXT), _find(names, _LABEL)
    if text is not None and label is not None:
        return _labelled(path, rows, text, label, kind)
    return _sts_benchmark(path, rows)


def _lines(path: Path) -> Iterator[list[str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        if "\t" in first:
            for line in file:  # tab-separated files of this field do not quote
                yield line.rstrip("\r\n").split("\t")
        else:
            yield from csv.reader(file)


def _find(names: list[str], known: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _column(path: Path, rows: list[list[str]], column: int, first: int) -> list[str]:
    found = []
    for number, row in enumerate(rows[first:], first + 1):
        if len(row) <= column:
            raise FileError(path, f"line {number} has {len(row)} columns; {column + 1} are needed.")
        found.append(row[column])
    return found


def _scores(path: Path, texts: list[str], first: int) -> list[float]:
    found = []
    for number, text in enumerate(texts, first + 1):
        try:
            found.append(float(text))
        except ValueError:
            raise FileError(path, f"line {number}: {text!r} is not a score.") from None
    return found


def _pairs(
    path: Path, rows: list[list[str]], names: list[str], left: int, right: int, kind: str | None
) -> Task:
    score, label = _find(names, _SCORE), _find(names, _LABEL)
    texts = _column(path, rows, left, 1), _column(path, rows, right, 1)
    if score is not None and kind != "pairs":
        return STS(path.stem, *texts, _scores(path, _column(path, rows, score, 1), 1))
    marked = label if label is not None else score
    if marked is None:
        raise FileError(path, "has pairs of texts, but no column of scores or labels.")
    numbers = _scores(path, _column(path, rows, marked, 1), 1)
    if not set(numbers) <= {0.0, 1.0}:
        raise FileError(path, "labels of pairs must be 0 or 1.")
    return PairClassification(path.stem, *texts, [bool(number) for number in numbers])


def _sts_benchmark(path: Path, rows: list[list[str]]) -> Task:
    """Genre, file, year, id, score, sentence 1, sentence 2; pairs without a score are left out."""
    if len(rows[0]) < 7:
        raise FileError(
            path,
            "has no columns that say what it is: wanted sentence1, sentence2 and score; label and "
            "text; or the seven columns of the STS benchmark.",
        )
    kept = [row for row in rows if len(row) < 5 or row[4].strip()]
    scores = _scores(path, _column(path, kept, 4, 0), 0)
    return STS(path.stem, _column(path, kept, 5, 0), _column(path, kept, 6, 0), scores)


def _labelled(path: Path, rows: list[list[str]], text: int, label: int, kind: str | None) -> Task:
    texts, labels = _column(path, rows, text, 1), _column(path, rows, label, 1)
    if kind in (None, "clustering"):
        return Clustering(path.stem, texts, labels)
    stem = path.stem
    for mark, other in (("train", "test"), ("test", "train")):
        if stem.endswith(f"_{mark}"):
            partner = path.with_name(f"{stem.removesuffix(mark)}{other}{path.suffix}")
            break
    else:
        raise FileError(path, "a classification needs two files, ..._train and ..._test.")
    if not partner.is_file():
        raise FileError(partner, f"no such file; {path.name} needs it beside.")
    more = list(_lines(partner))
    sides = {
        mark: (texts, labels),
        other: (_column(partner, more, text, 1), _column(partner, more, label, 1)),
    }
    return Classification(stem.removesuffix(f"_{mark}"), *sides["train"], *sides["test"])


def _retrieval(folder: Path) -> Task:
    documents, queries = (_objects(folder / f"{name}.jsonl") for name in ("corpus", "queries"))
    marked = folder / "qrels.tsv"
    if not marked.is_file():
        marked = folder / "qrels" / "test.tsv"
    if not marked.is_file():
        raise FileError(folder, "holds no qrels.tsv, nor qrels/test.tsv.")
    place = {entry["id"]: row for row, entry in enumerate(documents)}
    judged: dict[str, dict[int, float]] = {}
    for number, row in enumerate(list(_lines(marked))[1:], 2):
        if len(row) < 3:
            raise FileError(marked, f"line {number} has {len(row)} columns; 3 are needed.")
        if row[1] not in place:
            raise FileError(marked, f"line {number}: no document has the id {row[1]!r}.")
        grade = _scores(marked, [row[2]], number - 1)[0]
        if grade > 0:
            judged.setdefault(row[0], {})[place[row[1]]] = 1.0
    kept = [entry for entry in queries if entry["id"] in judged]
    return Retrieval(
        folder.name,
        [entry["text"] for entry in documents],
        [entry["text"] for entry in kept],
        [judged[entry["id"]] for entry in kept],
    )


def _objects(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileError(path, "no such file.")
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            title = entry.get("title", "")
            text = entry["text"]
            # Some collections repeat the title at the beginning of the text.
            whole = text if not title or text.startswith(title) else f"{title} {text}"
            found.append({"id": str(entry.get("id", entry.get("_id"))), "text": whole})
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise FileError(path, f"line {number}: no object with id and text ({error}).") from None
    return found
