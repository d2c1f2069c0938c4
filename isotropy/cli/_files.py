"""What commands read beside embeddings, where they may write, and what they tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import typer

from isotropy.rows.arrays import check_weights
from isotropy.storage.secrets import safe_url

__all__ = [
    "check_corrector_file",
    "check_output",
    "check_suffix",
    "read_pairs",
    "read_weights",
    "rows_or_moments",
    "tell",
]


def rows_or_moments(source: str, column: str | None = None) -> Any:
    """The rows that `source` names, or the Moments that a file of isotropy's holds."""
    from isotropy.io import open_rows
    from isotropy.moments import Moments

    path = Path(source)
    if path.suffix == ".safetensors" and column is None and _saved_class(path) is not None:
        return Moments.load(path)
    return open_rows(source, column=column)


def _saved_class(path: Path) -> str | None:
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


def read_pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of row numbers and their scores, from a file of three columns."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: could not be read ({error}).") from error
    pairs, scores = [], []
    for number, line in enumerate(text.rstrip().splitlines(), 1):
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


def check_output(output: str | Path, *sources: str | Path | None) -> None:
    """Refuse an output that is an input too, or whose folder is missing.

    Raises
    ------
    ValueError
        Which says what is in the way.
    """
    output = Path(output)
    for source in sources:
        if source is None:
            continue
        if output.exists() and Path(source).exists() and output.samefile(source):
            raise ValueError(f"{output}: is the input too; choose another name for the output.")
    if not output.parent.is_dir():
        raise ValueError(f"{output}: the folder {output.parent} does not exist; make it first.")


def check_suffix(output: Path, *suffixes: str) -> None:
    """Refuse a file name of a suffix that says other than what will be in the file."""
    if output.suffix.lower() not in suffixes:
        wanted = " or ".join(suffixes)
        raise ValueError(
            f"{output}: the suffix must be {wanted}, got {output.suffix!r}; nothing was written."
        )


def check_corrector_file(output: Path, *sources: str | Path | None) -> None:
    """Refuse to write a corrector to `output` if anything but a corrector is there already."""
    check_suffix(output, ".safetensors")
    check_output(output, *sources)
    if output.exists() and _saved_class(output) in (
        None,
        "AffineMap",
        "Moments",
        "MomentsCheckpoint",
    ):
        raise ValueError(
            f"{output}: exists and is no corrector that isotropy saved; choose another name."
        )


def tell(told: dict[str, Any], as_json: bool, sentence: str) -> None:
    """Print what was done, without secrets: the facts as JSON, or the sentence with them in it."""
    told = {name: safe_url(fact) if isinstance(fact, str) else fact for name, fact in told.items()}
    typer.echo(json.dumps(told) if as_json else sentence.format(**told))
