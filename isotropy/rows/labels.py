"""What rows are labelled with: classes and numbers, as one table of numbers beside the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from scipy import sparse

from isotropy.rows.arrays import is_torch

__all__ = [
    "Concepts",
    "Kind",
    "codes_of",
    "design",
    "read_classes",
    "read_labels",
    "union",
    "widths",
]

Kind = Literal["auto", "classes", "numbers"]
Label = str | int | float | bool
Concepts = dict[str, list[Label] | None]
"""By name, the labels of a concept of classes in a fixed order, or None for one of numbers."""


def read_labels(
    z: Any, n: int, *, kind: Kind = "auto", name: str = "z"
) -> tuple[Concepts, np.ndarray]:
    """The labels of n rows as a table of numbers, and what the numbers mean.

    Parameters
    ----------
    z : array of shape (n,) or (n, c), list of arrays, mapping or frame
        One concept, or several. NaN, None and pandas' NA are labels that are missing.
    n : int
        How many rows there are.
    kind : {"auto", "classes", "numbers"}, default="auto"
        What labels are. "auto" takes those of a floating type as numbers, all others as classes.
    name : str, default="z"
        What errors, and a concept without a name, are called.

    Returns
    -------
    concepts : dict
        See `Concepts`.
    table : ndarray of shape (n, c), float64
        Numbers, or positions among the labels; NaN where a label is missing.

    Raises
    ------
    ValueError
        If there are not as many labels as rows, or they are none that can be kept.

    Examples
    --------
    >>> concepts, table = read_labels(["b", "a", None], 3)
    >>> concepts, table.ravel().tolist()
    ({'z': ['a', 'b']}, [1.0, 0.0, nan])
    """
    if kind not in get_args(Kind):
        raise ValueError(f"concept must be one of {get_args(Kind)}, got {kind!r}.")
    if z is None:
        raise ValueError(f"{name} is missing: one label a row, a class or a number.")
    concepts: Concepts = {}
    columns = []
    for called, values in _columns(z, name).items():
        if values.shape != (n,):
            raise ValueError(
                f"{name} must have one label a row: {n} rows, but labels of shape {values.shape}."
            )
        concepts[called], column = _read(values, kind, called)
        columns.append(column)
    if not columns:
        raise ValueError(f"{name} holds no concept: give one label a row.")
    return concepts, np.column_stack(columns)


def _columns(z: Any, name: str) -> dict[str, np.ndarray]:
    if hasattr(z, "columns") and hasattr(z, "__getitem__"):
        return {str(key): _values(z[key]) for key in z.columns}
    if isinstance(z, dict):
        return {str(key): _values(column) for key, column in z.items()}
    if isinstance(z, list | tuple) and len(z) and all(map(_is_column, z)):
        return {f"{name}{i}": _values(part) for i, part in enumerate(z)}
    values = _values(z)
    if values.ndim == 2:
        return {f"{name}{i}": values[:, i] for i in range(values.shape[1])}
    return {name: values}


def _is_column(part: Any) -> bool:
    return not isinstance(part, str | list | tuple) and np.ndim(part) == 1


def _values(labels: Any) -> np.ndarray:
    """Labels as an array whose type says what they are; what mixes types keeps its objects."""
    if is_torch(labels):
        labels = labels.detach().cpu()
    if hasattr(labels, "compute") and hasattr(labels, "__dask_graph__"):
        labels = labels.compute()
    if hasattr(labels, "to_numpy"):
        labels = labels.to_numpy()
    if isinstance(labels, list | tuple) and any(
        value is None or isinstance(value, str) for value in labels
    ):
        made = np.empty(len(labels), object)
        made[:] = labels
        return made
    found = np.asarray(labels)
    if found.dtype.kind not in "fiubUO":
        raise ValueError(f"labels must be text, numbers or booleans, got dtype {found.dtype}.")
    return found


def _read(values: np.ndarray, kind: Kind, name: str) -> tuple[list[Label] | None, np.ndarray]:
    numbers = values.dtype.kind == "f" if kind == "auto" else kind == "numbers"
    if numbers:
        try:
            column = np.array(values, np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must hold numbers ({error}); classes are text.") from None
        if np.isinf(column).any():
            row = int(np.flatnonzero(np.isinf(column))[0])
            raise ValueError(f"{name} must hold finite numbers; that of row {row} is infinite.")
        return None, column
    if values.dtype.kind != "O":
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
        found, codes = np.unique(values[~missing], return_inverse=True)
        column = np.full(len(values), np.nan)
        column[~missing] = codes.ravel()
        return found.tolist(), column
    return _read_objects(values, name)


def _read_objects(values: np.ndarray, name: str) -> tuple[list[Label], np.ndarray]:
    plain = [_plain(value, row, name) for row, value in enumerate(values)]
    found = in_order(value for value in plain if value is not None)
    place = {label: float(code) for code, label in enumerate(found)}
    return found, np.array([np.nan if v is None else place[v] for v in plain])


def _plain(value: Any, row: int, name: str) -> Label | None:
    """A label as JSON knows it; None where it is missing."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float) and np.isnan(value):
        return None
    if isinstance(value, str | int | float):
        return value
    raise ValueError(
        f"{name} must hold text, numbers or booleans; that of row {row} is {type(value).__name__}."
    )


def in_order(labels: Iterable[Label]) -> list[Label]:
    """Different labels in the one order that does not hang on who came first.

    Parameters
    ----------
    labels : iterable of str, int, float or bool

    Returns
    -------
    list

    Examples
    --------
    >>> in_order(["b", 2, "a", "b"])
    [2, 'a', 'b']
    """
    return sorted(set(labels), key=lambda label: (isinstance(label, str), label))


def union(one: Concepts, other: Concepts) -> Concepts:
    """Concepts that hold the labels of both.

    Parameters
    ----------
    one, other : dict
        See `Concepts`.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If they are of other names, or numbers on one side and classes on the other.

    Examples
    --------
    >>> union({"z": ["b"]}, {"z": ["a"]})
    {'z': ['a', 'b']}
    """
    if one == other:
        return one
    kinds = [{name: labels is None for name, labels in each.items()} for each in (one, other)]
    if kinds[0] != kinds[1]:
        told = [
            ", ".join(f"{n}: {'numbers' if k else 'classes'}" for n, k in x.items()) for x in kinds
        ]
        raise ValueError(f"Labels of other concepts do not add up: {told[0]} and {told[1]}.")
    return {
        name: None if labels is None else in_order([*labels, *(other[name] or [])])
        for name, labels in one.items()
    }


def widths(concepts: Concepts) -> list[int]:
    """How many columns each concept takes: one for numbers, one a class.

    Parameters
    ----------
    concepts : dict
        See `Concepts`.

    Returns
    -------
    list of int

    Examples
    --------
    >>> widths({"source": ["a", "b"], "year": None})
    [2, 1]
    """
    return [1 if labels is None else len(labels) for labels in concepts.values()]


def design(table: np.ndarray, concepts: Concepts, shift: np.ndarray) -> Any:
    """The labels of rows as a sparse matrix: a 1 in the column of the class, or the number.

    Parameters
    ----------
    table : ndarray of shape (m, c)
        As `read_labels` gives it, without missing labels.
    concepts : dict
        See `Concepts`.
    shift : ndarray of shape (k,)
        Subtracted from numbers, and from them alone.

    Returns
    -------
    scipy.sparse.csr_matrix of shape (m, k)

    Examples
    --------
    >>> table = np.array([[1.0, 2020.0], [0.0, 2022.0]])
    >>> design(table, {"source": ["a", "b"], "year": None}, np.zeros(3)).toarray().tolist()
    [[0.0, 1.0, 2020.0], [1.0, 0.0, 2022.0]]
    """
    sizes = widths(concepts)
    starts = np.cumsum([0, *sizes])
    m, c = table.shape
    columns, values = np.empty((m, c), np.intp), np.ones((m, c))
    for j, labels in enumerate(concepts.values()):
        columns[:, j] = starts[j]
        if labels is None:
            values[:, j] = table[:, j] - shift[starts[j]]
        else:
            columns[:, j] += table[:, j].astype(np.intp)
    indptr = np.arange(0, m * c + 1, c)
    return sparse.csr_matrix((values.ravel(), columns.ravel(), indptr), (m, int(starts[-1])))


def read_classes(groups: Any, n: int) -> tuple[list[Label], np.ndarray]:
    """The labels of n rows that are of one group each, and which of them each row has.

    Parameters
    ----------
    groups : array of shape (n,)
        Of any kind that `read_labels` takes as classes.
    n : int
        How many rows there are.

    Returns
    -------
    labels : list of str, int, float or bool
        In a fixed order.
    codes : ndarray of int, shape (n,)
        Positions among them; -1 where the label is missing.

    Raises
    ------
    ValueError
        If there are none, not as many as rows, or several for a row.

    Examples
    --------
    >>> labels, codes = read_classes(["b", "a", None], 3)
    >>> labels, codes.tolist()
    (['a', 'b'], [1, 0, -1])
    """
    if groups is None:
        raise ValueError("groups is missing: one label a row, of the group that it is of.")
    concepts, table = read_labels(groups, n, kind="classes", name="groups")
    if len(concepts) > 1:
        raise ValueError(f"groups must be one label a row, got {len(concepts)} columns.")
    (labels,) = concepts.values()
    return labels or [], np.where(np.isnan(table[:, 0]), -1, table[:, 0]).astype(np.intp)


def codes_of(groups: Any, n: int, known: Sequence[Label]) -> np.ndarray:
    """The position of each row's label among those that are known.

    Parameters
    ----------
    groups : array of shape (n,), or None
        Of any kind that `read_labels` takes as classes; None where no row has a label.
    n : int
    known : sequence of str, int, float or bool

    Returns
    -------
    ndarray of int, shape (n,)
        -1 where the label is missing, -2 where it is not known.

    Raises
    ------
    ValueError
        If there are not as many labels as rows, or several for a row.

    Examples
    --------
    >>> codes_of(["b", "c", None], 3, ["a", "b"]).tolist()
    [1, -2, -1]
    """
    if groups is None:
        return np.full(n, -1)
    found, codes = read_classes(groups, n)
    place = {label: code for code, label in enumerate(known)}
    return np.array([place.get(label, -2) for label in found] + [-1])[codes]
