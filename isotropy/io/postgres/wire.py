"""Vectors and arrays in the binary form in which PostgreSQL sends and takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["KINDS", "VectorError", "decode", "encode", "fetched", "width"]

KINDS: dict[str, np.dtype[Any]] = {
    "vector": np.dtype("f4"),
    "halfvec": np.dtype("f2"),
    "real[]": np.dtype("f4"),
    "double precision[]": np.dtype("f8"),
}
"""The types of columns that hold rows, and those of their numbers."""

_NUMBERS = {"real[]": 700, "double precision[]": 701}


class VectorError(ValueError):
    """One of the values is no row like the others.

    Parameters
    ----------
    index : int
        Which one.
    problem : str
        What it is: "holds 3 numbers, others 4".
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(index, problem)
        self.index, self.problem = index, problem


def _form(kind: str, d: int) -> np.dtype[Any]:
    """The bytes of a value: a vector's are its dimension, two zero bytes, and its numbers."""
    number = KINDS[kind].newbyteorder(">")
    if kind not in _NUMBERS:
        return np.dtype([("d", ">u2"), ("zero", ">u2"), ("x", number, (d,))])
    head = [(name, ">i4") for name in ("ndim", "nulls", "type", "d", "first")]
    return np.dtype([*head, ("cells", [("size", ">i4"), ("x", number)], (d,))])


def width(kind: str, value: bytes) -> int:
    """How many numbers a value holds; of an array of several axes, along the first."""
    if kind not in _NUMBERS:
        return int.from_bytes(value[:2], "big")
    return int.from_bytes(value[12:16], "big") if value[:4] != bytes(4) else 0


def decode(kind: str, values: Sequence[bytes], d: int) -> np.ndarray:
    """The rows that a column's values are.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    values : sequence of bytes
    d : int
        Numbers in each.

    Returns
    -------
    ndarray of shape (len(values), d)

    Raises
    ------
    VectorError
        If one holds another number of numbers, a NULL, or has several axes.

    Examples
    --------
    >>> decode("real[]", encode("real[]", np.eye(2)), 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    form = _form(kind, d)
    for index, value in enumerate(values):
        if problem := _problem(kind, value, d, form.itemsize):
            raise VectorError(index, problem)
    found = np.frombuffer(b"".join(values), form)
    rows: np.ndarray = (found["cells"]["x"] if kind in _NUMBERS else found["x"]).astype(KINDS[kind])
    return rows


def _problem(kind: str, value: bytes, d: int, size: int) -> str | None:
    if kind in _NUMBERS and value[:8] != b"\0\0\0\1\0\0\0\0":
        if value[3] > 1:
            return f"is an array of {value[3]} axes, wanted one"
        if value[7]:
            return "holds a NULL"
    if len(value) != size:
        return f"holds {width(kind, value)} numbers, others {d}"
    return None


def encode(kind: str, rows: np.ndarray) -> list[bytes]:
    """The values that a column of a kind takes for rows; the inverse of `decode`.

    Parameters
    ----------
    kind : str
    rows : ndarray of shape (m, d)

    Returns
    -------
    list of bytes
    """
    m, d = rows.shape
    out = np.zeros(m, _form(kind, d))
    out["d"] = d
    if kind in _NUMBERS:
        out["ndim"], out["first"], out["type"] = 1, 1, _NUMBERS[kind]
        out["cells"]["size"], out["cells"]["x"] = KINDS[kind].itemsize, rows
    else:
        out["x"] = rows
    raw, size = out.tobytes(), out.dtype.itemsize
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def fetched(connection: Any, select: Any) -> Iterator[tuple[bytes | None, ...]]:
    """The rows of a query, each field as the bytes in which the server sends it.

    Parameters
    ----------
    connection : psycopg.Connection
    select : psycopg.sql.Composed
        Without parameters.

    Yields
    ------
    tuple of bytes or None
    """
    from psycopg import sql

    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(select)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield from copy.rows()
