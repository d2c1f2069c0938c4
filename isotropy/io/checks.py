"""What readers of files check before they hand out rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from isotropy.storage.errors import FileError

__all__ = ["ChoiceError", "check_size", "choose", "unusable"]

Named = str | os.PathLike[str]


def check_size(path: Named, shape: tuple[int, ...], dtype: np.dtype[Any], found: int) -> None:
    """Raise unless `found` bytes are exactly what rows of that shape and type take."""
    wanted = shape[0] * shape[1] * dtype.itemsize
    if found == wanted:
        return
    cause = (
        "the file is truncated; write or fetch it again"
        if found < wanted
        else "it holds more than one array or was damaged; save the array alone"
    )
    raise FileError(
        path,
        f"its header declares {shape[0]} x {shape[1]} numbers of type {dtype.name}, "
        f"{wanted} bytes, but {found} bytes follow: {cause}.",
    )


def unusable(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """Why an array of this shape and type holds no rows of embeddings; None if it does."""
    if dtype.hasobject:
        return (
            "holds pickled Python objects, which are never loaded because a pickle can run any "
            "code; save a plain numeric array, e.g. np.stack(list_of_vectors)"
        )
    if dtype.kind not in "fiub":
        return f"has dtype {dtype}; embeddings are real numbers, save e.g. float32"
    if len(shape) != 2:
        return (
            f"is {len(shape)}-D of shape {shape}; wanted 2-D, rows x dimensions: save a single "
            "vector as x.reshape(1, -1), and more axes as X.reshape(len(X), -1)"
        )
    n, d = shape
    if n < 0 or d < 1 or max(n, d) * dtype.itemsize > sys.maxsize:
        return f"has shape {shape}; wanted n x d with d of at least 1"
    return None


class ChoiceError(FileError):
    """A file or table has several parts that can be rows, and none was named.

    Attributes
    ----------
    names : tuple of str
        Those that can be rows.

    Examples
    --------
    >>> try:
    ...     choose("x.npz", None, "array", {"a": None, "b": None})
    ... except ChoiceError as error:
    ...     print(error, error.names)
    x.npz: has several arrays of rows; choose one with column (--column): 'a', 'b'. ('a', 'b')
    """

    names: tuple[str, ...] = ()


def choose(path: Named, column: str | None, kind: str, problems: Mapping[str, str | None]) -> str:
    """The name of the rows wanted among those a file holds.

    Parameters
    ----------
    path : path-like
    column : str or None
        The name asked for; None takes the only usable one.
    kind : str
        What the format calls its parts: "column", "tensor", "array".
    problems : mapping of str to str or None
        Why each part cannot be used, None where it can.
    """
    if not problems:
        raise FileError(path, f"holds no {kind} at all.")
    usable = [name for name, problem in problems.items() if problem is None]
    if column is None:
        if len(usable) == 1:
            return usable[0]
        if usable:
            error = ChoiceError(
                path,
                f"has several {kind}s of rows; choose one with column (--column): "
                f"{_listed(usable)}.",
            )
            error.names = tuple(usable)
            raise error
        described = "; ".join(f"{kind} {name!r} {text}" for name, text in problems.items())
        raise FileError(path, f"holds no rows of numbers: {described}.")
    if column not in problems:
        raise FileError(path, f"has no {kind} {column!r}; it has {_listed(problems)}.")
    if problem := problems[column]:
        raise FileError(path, f"{kind} {column!r} {problem}.")
    return column


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
