"""What commands read beside embeddings, where they may write, and what they tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import typer

from isotropy.rows.arrays import check_weights
from isotropy.storage.secrets import safe_url

__all__ = [
    "check_output",
    "check_suffix",
    "place",
    "read_pairs",
    "read_relevant",
    "read_weights",
    "rows_or_moments",
    "stamps",
    "tell",
    "writing",
]


def rows_or_moments(source: str, column: str | None = None) -> Any:
    """The rows that `source` names, or the Moments that a file of isotropy's holds."""
    from isotropy.io import open_rows
    from isotropy.moments import Moments

    path = place(source)
    if path.suffix == ".safetensors" and column is None and _saved_class(path) is not None:
        return Moments.load(path)
    return open_rows(source, column=column)


def place(text: str) -> Any:
    """A path, or the address of a file elsewhere, which shows no secret."""
    from isotropy.storage.remote import located

    return located(text)


def _saved_class(path: Any) -> str | None:
    """What isotropy saved in a file; None where it is no such file."""
    from isotropy.storage.state import load_state

    try:
        return str(load_state(path)[0]["class"])
    except (ValueError, OSError):
        return None


def read_weights(path: Path, n: int) -> np.ndarray:
    """One weight a row, from a `.npy` file."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    try:
        weights = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path}: not a readable file of weights; wanted a .npy file of {n} numbers."
        ) from error
    checked = check_weights(weights, n)
    assert checked is not None
    return checked


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: could not be read ({error}).") from error


def read_labels(path: Path, n: int) -> list[str | None]:
    """One label a row, from a file of as many lines; an empty line is a label that is missing."""
    lines = [line.strip() or None for line in _text_of(path).removesuffix("\n").split("\n")]
    if len(lines) != n:
        raise ValueError(f"{path}: holds {len(lines)} labels, one a line, for {n} rows.")
    return lines


def read_pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of row numbers and their scores, from a file of three columns."""
    pairs, scores = [], []
    for number, line in enumerate(_text_of(path).rstrip().splitlines(), 1):
        fields = line.replace("\t", ",").split(",")
        try:
            row = int(fields[0]), int(fields[1]), float(fields[2])
        except (ValueError, IndexError):
            if number == 1:  # names of the columns
                continue
            raise ValueError(
                f"{path}: line {number} is not two row numbers and a score: {line!r}."
            ) from None
        pairs.append(row[:2])
        scores.append(row[2])
    if not pairs:
        raise ValueError(f"{path}: holds no pair.")
    return np.array(pairs), np.array(scores)


def read_relevant(path: Path, n_queries: int) -> list[dict[int, float]]:
    """For each query the rows that answer it, with their grades.

    From lines of a query's number, a row's and maybe a grade, or from JSON: a list of row numbers a
    query, or an object of row numbers to grades.
    """
    found: list[dict[int, float]] = []
    as_json = path.suffix.lower() == ".jsonl"
    if not as_json:
        found = [{} for _ in range(n_queries)]
    for number, line in enumerate(_text_of(path).rstrip().splitlines(), 1):
        try:
            if as_json:
                told = json.loads(line)
                graded = told if isinstance(told, dict) else dict.fromkeys(told, 1)
                found.append({int(row): float(grade) for row, grade in graded.items()})
                continue
            query, row, *grade = line.replace("\t", ",").split(",")
            if not 0 <= int(query) < n_queries:
                raise ValueError
            found[int(query)][int(row)] = float(grade[0]) if grade else 1.0
        except (ValueError, TypeError, IndexError):
            if number == 1 and not (as_json or line[:1].isdigit()):  # names of the columns
                continue
            wanted = "a list of row numbers" if as_json else "the numbers of a query and a row"
            raise ValueError(
                f"{path}: line {number} is not {wanted} ({n_queries} queries): {line[:80]!r}."
            ) from None
    return found


def check_output(output: str | Path, *sources: Any) -> None:
    """Refuse an output that is an input too, or lies among them, or whose folder is missing.

    Raises
    ------
    ValueError
        Which says what is in the way.
    """
    from isotropy.jobs.places import Inputs

    output = Path(output)
    Inputs(*sources).refuse(output)
    if not output.parent.is_dir():
        raise ValueError(f"{output}: the folder {output.parent} does not exist; make it first.")


def check_suffix(output: Any, *suffixes: str) -> None:
    """Refuse a file name of a suffix that says other than what will be in the file."""
    if output.suffix.lower() not in suffixes:
        wanted = " or ".join(suffixes)
        raise ValueError(
            f"{output}: the suffix must be {wanted}, got {output.suffix!r}; nothing was written."
        )


@contextmanager
def writing(output: Any, plan: Any, *sources: Any, overwrite: bool = False) -> Iterator[None]:
    """A context in which a command writes a file, alone, and not over what it did not write.

    Parameters
    ----------
    output : Path or Address
    plan : object
        JSON-able; what the same command has the same of: it may write the file again.
    *sources : Rows, str or path, optional
        What is read.
    overwrite : bool, default=False
        Whether whatever is there may be replaced.

    Raises
    ------
    ValueError
        Which says what is in the way, and the way out.
    """
    from isotropy.jobs.places import Inputs
    from isotropy.jobs.plan import digest_of
    from isotropy.storage.locks import owned
    from isotropy.storage.records import planned, written_by
    from isotropy.storage.remote import is_remote, place_of

    if is_remote(output):
        Inputs(*sources).refuse(place_of(output))
        if place_of(output).exists() and not overwrite:
            raise ValueError(
                f"{output}: exists; say --overwrite to replace it, or choose another name."
            )
        yield
        return
    check_output(output, *sources)
    with owned(output):
        digest = digest_of(plan)
        if output.is_file() and not overwrite and written_by(output) != digest:
            what = _saved_class(output)
            raise ValueError(
                f"{output}: exists{f' and holds a {what}' if what else ''}, and is not what this "
                "command wrote from the same input; say --overwrite to replace it, or choose "
                "another name."
            )
        with planned(output, digest):
            yield


def stamps(*paths: str | Path | None) -> list[Any]:
    """What tells files from others of the same name, for the plan of a command."""
    found: list[Any] = []
    for path in paths:
        if path is None or not Path(path).exists():
            found.append(None if path is None else str(path))
        else:
            stat = Path(path).stat()
            found.append([str(path), stat.st_size, stat.st_mtime_ns])
    return found


def tell(told: dict[str, Any], as_json: bool, sentence: str) -> None:
    """Print what was done, without secrets: the facts as JSON, or the sentence with them in it."""
    told = {name: safe_url(fact) if isinstance(fact, str) else fact for name, fact in told.items()}
    typer.echo(json.dumps(told) if as_json else sentence.format(**told))
