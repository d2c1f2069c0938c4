"""The one door: anything that holds rows of numbers becomes `Rows`, or an error says why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from isotropy.rows.arrays import is_torch
from isotropy.rows.source import MemoryRows, Rows

__all__ = ["as_rows", "column_of", "numbers_of"]


def as_rows(X: Any, *, name: str = "X") -> Rows:
    """Take rows of any kind; from here on nobody has to ask which kind it was.

    Parameters
    ----------
    X : array of shape (n, d), or rows of another kind
        numpy, torch on any device, pandas, polars, pyarrow (a table of columns, or one column of
        vectors), anything numpy makes a matrix of, a Dask array, dataframe, series or bag, or
        `Rows` (of `isotropy.io.open_rows`), which come back as they are.
    name : str, default="X"
        What errors call it.

    Returns
    -------
    Rows
        Nothing is copied that is an array already.

    Raises
    ------
    TypeError
        If it is no rows but something that holds, makes or names them: a path, texts, an encoder,
        an estimator, a sparse matrix. The message says the way out.
    ValueError
        If it is not 2-D, has no columns, or does not hold real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from isotropy.rows import as_rows
    >>> as_rows(np.ones((3, 2))).shape
    (3, 2)
    >>> as_rows("embeddings.npy")
    Traceback (most recent call last):
        ...
    TypeError: X is a path ('embeddings.npy'), not rows. Open it first: isotropy.io.open_rows(path).
    """
    if isinstance(X, Rows):
        return X
    root = type(X).__module__.partition(".")[0]
    if root in ("dask", "dask_expr") and hasattr(X, "__dask_graph__"):
        from isotropy.rows.dask import DaskRows

        return DaskRows(X)
    if (problem := _no_rows(X)) is not None:
        raise TypeError(f"{name} is {problem}")
    if is_torch(X):
        if X.is_complex():
            raise ValueError(f"{name} is complex. Complex data not supported: embeddings are real.")
        array = X if X.is_floating_point() or X.dtype.itemsize else X.double()
    else:
        array = _numbers(_CONVERTERS.get(root, np.asarray)(X), name)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be 2-D (rows x dimensions), got {array.ndim}-D of shape "
            f"{tuple(array.shape)}. Reshape your data: X.reshape(1, -1) makes one row of a single "
            "vector."
        )
    if len(array) and not array.shape[1]:
        raise ValueError(
            f"{name} has rows without numbers: 0 feature(s) (shape={tuple(array.shape)}) while a "
            "minimum of 1 is required."
        )
    return MemoryRows(array)


def _no_rows(X: Any) -> str | None:
    """What `X` is, and the way out, where it is a thing that people pass in the place of rows."""
    if X is None:
        return "None, not rows. Pass an array of shape (rows, dimensions)."
    if isinstance(X, os.PathLike) or (isinstance(X, str) and _names_a_file(X)):
        return f"a path ({os.fspath(X)!r}), not rows. Open it first: isotropy.io.open_rows(path)."
    if isinstance(X, str | bytes):
        return "a text, not rows. Encode it first: isotropy.encoders.encode(model, [text])."
    if isinstance(X, list | tuple) and len(X) and isinstance(X[0], str | bytes):
        return "texts, not rows. Encode them first: isotropy.encoders.encode(model, texts)."
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        return (
            "a sparse matrix. Sparse data was passed, but dense data is required: embeddings are "
            "dense; X.toarray() makes them so, if they fit into memory."
        )
    if isinstance(X, np.matrix):
        return "a numpy.matrix, which is not supported. Convert it: np.asarray(X)."
    if isinstance(X, type):
        return f"the class {X.__name__}, not rows."
    kind = type(X).__name__
    if callable(getattr(X, "encode", None)):
        return f"an encoder ({kind}), not rows. First: isotropy.encoders.encode(encoder, texts)."
    if callable(getattr(X, "fit", None)):
        return f"an estimator ({kind}), not rows."
    if hasattr(X, "total_weight"):
        return "Moments, not rows: this needs the rows themselves."
    if isinstance(X, Iterator):
        return (
            f"an iterator ({kind}), which can be read only once. Sum its blocks with "
            "Moments().update(block), or stack them."
        )
    if isinstance(X, dict | set):
        return f"a {kind}, not rows. Pass one array of shape (rows, dimensions)."
    return None


def _names_a_file(text: str) -> bool:
    return (
        len(text) < 4096
        and "\n" not in text
        and bool(os.path.splitext(text)[1] or "://" in text or os.path.exists(text))
    )


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    """An array of real numbers; masked and object arrays only where nothing gets lost."""
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.is_masked(array):
            row = int(np.argwhere(np.ma.getmaskarray(array))[0][0])
            raise ValueError(
                f"{name} is a masked array with masked values, the first in row {row}. Fill them "
                "or drop such rows: X.filled(...), or X[~X.mask.any(1)].data."
            )
        array = array.data
    if array.dtype.kind == "c":
        raise ValueError(f"{name} is complex. Complex data not supported: embeddings are real.")
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            nested = any(np.ndim(value) for value in array[:1].ravel())
            hint = " Of a frame, pass the column of vectors alone: frame['vectors']."
            raise type(error)(
                f"{name} must hold real numbers, got Python objects: argument must be a string or "
                f"a real number ({error}).{hint if nested else ''}"
            ) from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}.")
    return array


def _from_pandas(X: Any) -> np.ndarray:
    if X.ndim == 1:
        return _stacked(X)
    kinds = X.dtypes.to_numpy()
    if all(isinstance(kind, np.dtype) for kind in kinds):
        return np.asarray(X)
    return np.asarray(X.to_numpy(dtype=np.float64, na_value=np.nan))


def _from_polars(X: Any) -> np.ndarray:
    return np.asarray(X.to_numpy()) if hasattr(X, "columns") else _stacked(X.to_list())


def _from_arrow(X: Any) -> np.ndarray:
    """A column of vectors, or columns of numbers; nulls become NaN, which is refused later."""
    if not hasattr(X, "column_names") and not hasattr(X, "schema"):
        return _vectors_of_arrow(X) if "list" in str(X.type) else _stacked(X.to_pylist())
    names = list(X.schema.names)
    columns = {name: X.column(index) for index, name in enumerate(names)}
    vectors = {name: column for name, column in columns.items() if "list" in str(column.type)}
    if len(vectors) == 1:
        return _vectors_of_arrow(*vectors.values())
    if vectors:
        raise ValueError(f"several columns of vectors, {', '.join(vectors)}: pass one of them.")
    return np.column_stack(
        [np.asarray(column.to_numpy(zero_copy_only=False)) for column in _whole(columns).values()]
    )


def column_of(table: Any, name: str) -> Any:
    """A column of a table of pyarrow, pandas or polars.

    Parameters
    ----------
    table : pyarrow.RecordBatch or Table, or a frame of pandas or polars
    name : str

    Returns
    -------
    array or series
        For `as_rows`.

    Raises
    ------
    TypeError
        If it is no table.
    ValueError
        If it has no such column.

    Examples
    --------
    >>> import pyarrow as pa
    >>> column_of(pa.table({"v": [[1.0, 2.0]]}), "v").to_pylist()
    [[1.0, 2.0]]
    """
    names = getattr(getattr(table, "schema", None), "names", None)
    if callable(names) or names is None:
        names = getattr(table, "columns", None)
    if names is None:
        raise TypeError(f"{type(table).__name__} has no columns by name, so no column {name!r}.")
    if name not in list(names):
        raise ValueError(f"there is no column {name!r}; there are: {', '.join(map(str, names))}.")
    return table.column(name) if hasattr(table, "column_names") else table[name]


def numbers_of(table: Any, name: str) -> np.ndarray:
    """A column of numbers of a table; nulls are NaN.

    Parameters
    ----------
    table : pyarrow.RecordBatch or Table, or a frame of pandas or polars
    name : str

    Returns
    -------
    ndarray of shape (n,), float64

    Raises
    ------
    TypeError, ValueError
        As `column_of` does.

    Examples
    --------
    >>> import pyarrow as pa
    >>> numbers_of(pa.table({"w": [1, 2]}), "w").tolist()
    [1.0, 2.0]
    """
    column = column_of(table, name)
    if hasattr(column, "to_pylist"):
        column = column.to_pylist()
    return np.asarray(column, dtype=np.float64)


def _whole(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns each in one piece."""
    return {
        name: column.combine_chunks() if hasattr(column, "chunks") else column
        for name, column in columns.items()
    }


def _vectors_of_arrow(column: Any) -> np.ndarray:
    column = _whole({"": column})[""]
    if hasattr(column, "chunks"):  # an old pyarrow keeps an empty column chunked
        return _stacked(column.to_pylist())
    lengths = column.value_lengths().to_numpy(zero_copy_only=False)
    if column.null_count or len(set(lengths.tolist())) > 1:
        return _stacked(column.to_pylist())
    width = int(lengths[0]) if len(lengths) else 0
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(-1, width)


def _stacked(vectors: Any) -> np.ndarray:
    """A sequence of vectors of one length as a matrix; numbers stay 1-D, for the error above."""
    parts = [np.asarray(vector) for vector in vectors]
    if not parts or parts[0].ndim == 0:
        return np.asarray(parts)
    for row, part in enumerate(parts):
        if part.shape != parts[0].shape:
            raise ValueError(
                f"row {row} holds {part.size if part.ndim else 'no'} numbers, the rows before "
                f"{parts[0].size}. Drop or repair such rows."
            )
    return np.stack(parts)


_CONVERTERS: dict[str, Callable[[Any], np.ndarray]] = {
    "pandas": _from_pandas,
    "polars": _from_polars,
    "pyarrow": _from_arrow,
    "numpy": lambda X: X,
}
"""How the libraries whose tables hold rows give a matrix, by the name of their root module."""
